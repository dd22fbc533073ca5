from hypothesis import strategies as st

Texts = st.lists(st.text(), min_size=1, max_size=6)
