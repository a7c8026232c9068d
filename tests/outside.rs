//! The runner as a user sees it: its own binary in a folder of its own, without libtorch.

mod outside {
    mod caching;
    mod commands;
    mod errors;
    mod failures;
    mod hostile;
    mod project;
    mod quickstart;
    mod shipped;
    mod stopping;
    mod sweeps;
}
