import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from seq.inference.trained import load_run
from tests.helpers import run
from tests.seq.inference.test_formats import _run_onnx, compare, uneven


@pytest.mark.slow
def test_the_program(names: Path, tmp_path: Path) -> None:
    done = run("python", "-m", "seq.export", names, "--format", "onnx", "--output", tmp_path / "names.onnx")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "names.onnx").stat().st_size > 1000
    assert done.stdout.strip() == str(tmp_path / "names.onnx")
    for kind in ("onnx", "torchscript", "safetensors"):
        for output in ("/proc/none/x", str(tmp_path)):
            nowhere = run("python", "-m", "seq.export", names, "--format", kind, "--output", output)
            assert nowhere.returncode == 2
            assert "cannot be written" in nowhere.stderr
    # Another checkpoint's weights do not take the place of the model's; an exported folder is exported into itself.
    earlier = run("python", "-m", "seq.export", names, "--format", "safetensors", "--checkpoint", "step-00000008.pt")
    assert earlier.stdout.strip() == str(names / "model" / "step-00000008.safetensors")
    own = run("python", "-m", "seq.export", names / "model", "--format", "torchscript")
    assert own.stdout.strip() == str(names / "model" / "model.pt")


@pytest.mark.slow
def test_a_model_by_label_comes_with_its_states(generator: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    done = run("python", "-m", "seq.export", generator, "--output", tmp_path / "generator.onnx")
    assert done.returncode == 0, done.stderr
    model = load_run(generator).model
    states = load_file(tmp_path / "generator.labels.safetensors")["states"]
    inputs, lengths = uneven([5, 3])
    given = {"inputs": inputs, "lengths": lengths, "hidden": states[[4, 7]].transpose(0, 1).contiguous()}
    given["preceding"] = torch.zeros(2, 3, dtype=torch.int64)  # the model's n-grams are of up to four tokens
    want = model(inputs, lengths, labels=torch.tensor([4, 7]))
    compare(_run_onnx(tmp_path / "generator.onnx", given), want, lengths)


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as an upload asks for; `Hub.files` has what was uploaded."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(body)["files"]]
            answer = {"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]}
        elif self.path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    Hub.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            answer = {"commitUrl": f"{self._url}/commit/1", "commitOid": "1", "pullRequestUrl": None}  # type: ignore[dict-item]
        else:
            answer = {"url": self._url}  # type: ignore[dict-item]
        self._say(answer)

    @property
    def _url(self) -> str:
        return f"http://{self.headers['Host']}/me/names"

    def do_GET(self) -> None:
        self._say({"siblings": [], "id": "me/names", "sha": "1"})

    def _say(self, answer: Any) -> None:
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.mark.slow
def test_push_to_hub(names: Path) -> None:
    command = ("python", "-m", "seq.export", names, "--format", "model", "--push-to-hub", "me/names")
    refused = run(*command)  # the tests' hub is offline
    assert refused.returncode == 2
    assert "me/names: not uploaded" in refused.stderr
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        env = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_x"}
        done = run(*command, env=env)
        server.shutdown()
    assert done.stdout.strip().endswith("/me/names/commit/1"), done.stderr
    uploaded = ("README.md", "config.json", "model.safetensors", "tokenizer.json")
    assert {name: Hub.files[name] for name in uploaded} == {
        name: (names / "model" / name).read_bytes() for name in uploaded
    }
