//! Image layers to a root file system, on `archive`; whiteouts; the first `Index` as it writes.
