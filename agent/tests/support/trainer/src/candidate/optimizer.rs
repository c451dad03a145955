//! Empty: the pretended trainer has no optimizer.
