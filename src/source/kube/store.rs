//! What a watch has told so far. In: its events. Out: the objects as of the last complete list and all events since. A
//! list in progress is kept apart until it is complete, so that it never looks like deletions. Pure.

use std::collections::BTreeMap;

use kube::runtime::watcher::Event;

/// The objects of one watch.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    objects: Option<BTreeMap<K, V>>,
    listing: BTreeMap<K, V>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { objects: None, listing: BTreeMap::new() }
    }
}

impl<K: Ord, V: PartialEq> Table<K, V> {
    /// The objects; `None` until the first list is complete.
    pub(crate) fn objects(&self) -> Option<&BTreeMap<K, V>> {
        self.objects.as_ref()
    }

    /// What is known of `key`, also from a list in progress.
    pub(crate) fn find(&self, key: &K) -> Option<&V> {
        self.listing.get(key).or_else(|| self.objects.as_ref()?.get(key))
    }

    /// Takes an event; `true` if the objects are others now.
    pub(crate) fn take(&mut self, event: Event<(K, V)>) -> bool {
        match event {
            Event::Init => {
                self.listing.clear();
                false
            }
            Event::InitApply((key, value)) => {
                self.listing.insert(key, value);
                false
            }
            Event::InitDone => {
                let listed = Some(std::mem::take(&mut self.listing));
                let differs = self.objects != listed;
                self.objects = listed;
                differs
            }
            Event::Apply((key, value)) => {
                let objects = self.objects.get_or_insert_default();
                let differs = objects.get(&key) != Some(&value);
                objects.insert(key, value);
                differs
            }
            Event::Delete((key, _)) => self.objects.as_mut().is_some_and(|objects| objects.remove(&key).is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(table: &Table<char, u8>) -> Option<Vec<(char, u8)>> {
        table.objects().map(|objects| objects.iter().map(|(key, value)| (*key, *value)).collect())
    }

    #[test]
    fn nothing_is_known_until_the_first_list_is_complete() {
        let mut table = Table::default();
        assert!(!table.take(Event::Init));
        assert!(!table.take(Event::InitApply(('a', 1))));
        assert_eq!(known(&table), None);
        assert!(table.take(Event::InitDone));
        assert_eq!(known(&table), Some(vec![('a', 1)]));
    }

    #[test]
    fn an_empty_list_is_known_too() {
        let mut table = Table::default();
        table.take(Event::Init);
        assert!(table.take(Event::InitDone));
        assert_eq!(known(&table), Some(vec![]));
    }

    #[test]
    fn a_new_list_replaces_all_at_its_end_and_not_before() {
        let mut table = Table::default();
        for event in [Event::Init, Event::InitApply(('a', 1)), Event::InitApply(('b', 1)), Event::InitDone] {
            table.take(event);
        }
        assert!(!table.take(Event::Init));
        assert!(!table.take(Event::InitApply(('b', 2))));
        assert_eq!(known(&table), Some(vec![('a', 1), ('b', 1)]));
        // The list failed half-way and begins anew.
        assert!(!table.take(Event::Init));
        assert!(!table.take(Event::InitApply(('b', 1))));
        assert_eq!(known(&table), Some(vec![('a', 1), ('b', 1)]));
        assert!(table.take(Event::InitDone));
        assert_eq!(known(&table), Some(vec![('b', 1)]));
    }

    #[test]
    fn what_repeats_is_no_change() {
        let mut table = Table::default();
        for event in [Event::Init, Event::InitApply(('a', 1)), Event::InitDone] {
            table.take(event);
        }
        assert!(!table.take(Event::Apply(('a', 1))));
        assert!(table.take(Event::Apply(('a', 2))));
        assert!(table.take(Event::Delete(('a', 2))));
        assert!(!table.take(Event::Delete(('a', 2))));
    }
}
