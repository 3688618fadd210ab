//! The closed list of the kinds that users write: the `kind` field of an object and the type of its spec. In: nothing. Out: the
//! list, as a macro from which the enums and the dispatch over them are generated. Code that depends on a kind must not be here
//! but in its folder. An object may depend on objects of the kinds before its own.
//! Pure data.

macro_rules! for_each_kind {
    ($apply:ident) => {
        $apply! {
            Underlay => underlay::UnderlaySpec,
            L3VNI => l3vni::L3VNISpec,
            L2VNI => l2vni::L2VNISpec,
        }
    };
}

pub(super) use for_each_kind;
