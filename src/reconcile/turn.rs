//! Whose turn it is: of what there may be hundreds of, a few are compared after each pass. In: a list. Out: its next items. Reads
//! nothing.

/// So many have their turn at once, at most.
const AT_ONCE: usize = 8;

/// The position of the first item whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turn(usize);

impl Turn {
    /// The items of `all` whose turn it is.
    pub(super) fn take<I: ExactSizeIterator + Clone>(&mut self, all: I) -> impl Iterator<Item = I::Item> {
        let count = all.len().min(AT_ONCE);
        let first = self.0 % all.len().max(1);
        self.0 = first + count;
        all.cycle().skip(first).take(count)
    }
}
