//! The closed list of the kinds that users write: the `kind:` of an object and the type of its spec. What depends on a kind
//! is in its folder; the enums and the dispatch over them are made from this list. An object may depend on objects of the
//! kinds before its own. Pure data.

macro_rules! for_each_kind {
    ($apply:ident) => {
        $apply! {
            Underlay => underlay::UnderlaySpec,
            L3VNI => l3vni::L3VNISpec,
        }
    };
}

pub(super) use for_each_kind;
