//! Empty: the pretended trainer has no model.
