//! The rules of the tree, as tests that read it: see `tests/tidy.rs`. Nothing else is here.
