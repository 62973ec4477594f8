//! A name becomes a governed table; the system schemas answer for the mesh itself.
