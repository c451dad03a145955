pub mod model;
pub mod optimizer;
pub mod recipe;
pub mod training;
