"""A run, or several side by side, as one HTML file that needs no network: python -m seq.report RUN [RUN ...]."""
