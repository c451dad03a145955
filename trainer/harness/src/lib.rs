//! The part of the trainer that no experiment may edit.
