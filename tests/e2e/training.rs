//! Training as its users run it: a drawn data set, runs on it, and what becomes of them.

mod chain;
mod demo_models;
mod images;
mod interruptions;
mod parameters;
mod refusals;
mod stand;
