//! The runner as a user sees it: its own binary in a folder of its own, without libtorch.

mod outside {
    mod caching;
    mod commands;
    mod errors;
    mod failures;
    mod faults;
    mod history;
    mod hostile;
    mod inspect;
    mod json;
    mod model;
    mod project;
    mod quickstart;
    mod random;
    mod shipped;
    mod stopping;
    mod store;
    mod sweeps;
}
