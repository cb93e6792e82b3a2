//! What every benchmark of the service measures with: load, the processes under test, and the figures that come of it.

pub mod figures;
pub mod load;
pub mod process;
