//! Every setting, its variable, its default, in one place.
