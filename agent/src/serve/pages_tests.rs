//! All pages over a real database and a real repository, with script in every field that anybody writes; deciding, up to branches.

mod deciding;
mod fixture;
mod listing;
