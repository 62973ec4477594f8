//! Faults that tests plant, at least one for each line of the law, to see that the law's own test catches them.
//! Outside of tests there are none.

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Line 1: what nothing permits is allowed.
    AllowByDefault,
    /// Line 1: a forbid loses against a permit.
    ForbidLoses,
    /// Line 2: of several masks the weakest wins.
    WeakestMask,
    /// Line 2: a column is raw where it may only be masked.
    MaskIsRaw,
    /// Line 2: a tag demands no mask.
    TagWithoutMask,
    /// Line 2: what may be read of a column is what may be read of its fields.
    FieldsFollow,
    /// Line 3: rows are closed only for those whom a permit reaches.
    ConditionsClose,
    /// Line 3: forbids take no rows away.
    RowsStay,
    /// Line 4: a policy that fails is as one that does not apply.
    FailureSkips,
    /// Line 6: an unknown filter of a permit is true.
    UnknownShows,
    /// Line 6: an unknown filter of a forbid is false.
    UnknownStays,
    /// Line 7: everything may be discovered.
    NothingHidden,
    /// A purpose counts for whoever claims it.
    PurposeUnchecked,
    /// `unmasked_for` keeps nobody out.
    StandardIgnored,
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Whether the fault is planted.
#[cfg(test)]
pub(crate) fn is(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// Whether the fault is planted, which it is not.
#[cfg(not(test))]
pub(crate) const fn is(_fault: Fault) -> bool {
    false
}

/// Runs `f` with a fault planted in this thread.
#[cfg(test)]
pub(crate) fn with<T>(fault: Option<Fault>, f: impl FnOnce() -> T) -> T {
    PLANTED.set(fault);
    let done = f();
    PLANTED.set(None);
    done
}

#[cfg(test)]
impl Fault {
    pub const ALL: [Self; 14] = [
        Self::AllowByDefault,
        Self::ForbidLoses,
        Self::WeakestMask,
        Self::MaskIsRaw,
        Self::TagWithoutMask,
        Self::FieldsFollow,
        Self::ConditionsClose,
        Self::RowsStay,
        Self::FailureSkips,
        Self::UnknownShows,
        Self::UnknownStays,
        Self::NothingHidden,
        Self::PurposeUnchecked,
        Self::StandardIgnored,
    ];
}
