//! The one shape of what is kept to save time: the value that was computed last, with what it was computed from. In: keys and
//! values. Out: the value of an equal key. A lost entry costs time, never correctness; what each one saves is in
//! `docs/caches.md`. Pure.

/// At most one value, and its key: a value (or the version number of one) that is compared by equality.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memo<K, V>(Option<(K, V)>);

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self(None)
    }
}

impl<K: PartialEq, V> Memo<K, V> {
    /// The value of this key; `None` if the last key was another.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.last().filter(|(last, _)| *last == key).map(|(_, value)| value)
    }

    /// The last key and its value, for what can be computed from the value of another key at less cost.
    pub fn last(&self) -> Option<(&K, &V)> {
        self.0.as_ref().map(|(key, value)| (key, value))
    }

    /// Takes the last key and its value out.
    pub fn take(&mut self) -> Option<(K, V)> {
        self.0.take()
    }

    /// Keeps the value of this key in place of the last.
    pub fn set(&mut self, key: K, value: V) -> (&K, &mut V) {
        let (key, value) = self.0.insert((key, value));
        (key, value)
    }

    /// The value of this key, computed if the last key was another. Of equal keys the new one is kept: what it shares with the
    /// next one compares at once.
    pub fn get_or_compute(&mut self, key: K, compute: impl FnOnce(&K) -> V) -> &V {
        let value = match self.0.take() {
            Some((last, value)) if last == key => value,
            _ => compute(&key),
        };
        &self.0.insert((key, value)).1
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_value_is_computed_again_only_for_another_key() {
        let mut computed = 0;
        let mut memo = Memo::default();
        let mut read = |memo: &mut Memo<u8, u16>, key| {
            *memo.get_or_compute(key, |key| {
                computed += 1;
                u16::from(*key) * 2
            })
        };
        assert_eq!([1, 1, 2, 2, 1].map(|key| read(&mut memo, key)), [2, 2, 4, 4, 2]);
        assert_eq!(computed, 3);
    }

    #[test]
    fn of_equal_keys_the_new_one_is_kept() {
        let mut memo = Memo::default();
        memo.set(Rc::new(1), 'a');
        let new = Rc::new(1);
        assert_eq!(memo.get_or_compute(Rc::clone(&new), |_| 'b'), &'a');
        assert_eq!(Rc::strong_count(&new), 2);
    }

    #[test]
    fn the_value_of_another_key_is_not_returned() {
        let mut memo = Memo::default();
        memo.set(1, 'a');
        assert_eq!((memo.get(&1), memo.get(&2), memo.last()), (Some(&'a'), None, Some((&1, &'a'))));
        memo.set(2, 'b');
        assert_eq!((memo.get(&1), memo.get(&2)), (None, Some(&'b')));
        assert_eq!((memo.take(), memo.last()), (Some((2, 'b')), None));
    }
}
