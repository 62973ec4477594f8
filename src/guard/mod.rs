//! Masks in the plan, and the verifier that refuses a plan without them.
