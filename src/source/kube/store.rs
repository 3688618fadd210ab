//! The objects of one watch. In: its events. Out: the objects as of the last complete list and all events since. A list in
//! progress must not change them before it is complete, so that it never looks like deletions. Pure.

use std::collections::BTreeMap;

use kube::runtime::watcher::Event;

/// The objects of one watch.
#[derive(Debug)]
pub(crate) struct ObjectStore<K, V> {
    objects: Option<BTreeMap<K, V>>,
    /// The objects of a list in progress.
    listed: BTreeMap<K, V>,
}

impl<K, V> Default for ObjectStore<K, V> {
    fn default() -> Self {
        Self { objects: None, listed: BTreeMap::new() }
    }
}

impl<K: Ord, V: PartialEq> ObjectStore<K, V> {
    /// The objects; `None` until the first list is complete.
    pub(crate) fn objects(&self) -> Option<&BTreeMap<K, V>> {
        self.objects.as_ref()
    }

    /// The last version of an object, also from a list in progress.
    pub(crate) fn latest(&self, key: &K) -> Option<&V> {
        self.listed.get(key).or_else(|| self.objects.as_ref()?.get(key))
    }

    /// Applies an event; `true` if the objects changed.
    pub(crate) fn apply(&mut self, event: Event<(K, V)>) -> bool {
        match event {
            Event::Init => {
                self.listed.clear();
                false
            }
            Event::InitApply((key, value)) => {
                self.listed.insert(key, value);
                false
            }
            Event::InitDone => {
                let listed = Some(std::mem::take(&mut self.listed));
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

    fn contents(store: &ObjectStore<char, u8>) -> Option<Vec<(char, u8)>> {
        store.objects().map(|objects| objects.iter().map(|(key, value)| (*key, *value)).collect())
    }

    #[test]
    fn there_are_no_objects_until_the_first_list_is_complete() {
        let mut store = ObjectStore::default();
        assert!(!store.apply(Event::Init));
        assert!(!store.apply(Event::InitApply(('a', 1))));
        assert_eq!(contents(&store), None);
        assert!(store.apply(Event::InitDone));
        assert_eq!(contents(&store), Some(vec![('a', 1)]));
    }

    #[test]
    fn an_empty_list_is_complete_too() {
        let mut store = ObjectStore::default();
        store.apply(Event::Init);
        assert!(store.apply(Event::InitDone));
        assert_eq!(contents(&store), Some(vec![]));
    }

    #[test]
    fn a_new_list_replaces_all_objects_at_its_end_and_not_before() {
        let mut store = ObjectStore::default();
        for event in [Event::Init, Event::InitApply(('a', 1)), Event::InitApply(('b', 1)), Event::InitDone] {
            store.apply(event);
        }
        assert!(!store.apply(Event::Init));
        assert!(!store.apply(Event::InitApply(('b', 2))));
        assert_eq!(contents(&store), Some(vec![('a', 1), ('b', 1)]));
        // The list failed half-way and starts over.
        assert!(!store.apply(Event::Init));
        assert!(!store.apply(Event::InitApply(('b', 1))));
        assert_eq!(contents(&store), Some(vec![('a', 1), ('b', 1)]));
        assert!(store.apply(Event::InitDone));
        assert_eq!(contents(&store), Some(vec![('b', 1)]));
    }

    #[test]
    fn an_event_that_changes_nothing_is_no_change() {
        let mut store = ObjectStore::default();
        for event in [Event::Init, Event::InitApply(('a', 1)), Event::InitDone] {
            store.apply(event);
        }
        assert!(!store.apply(Event::Apply(('a', 1))));
        assert!(store.apply(Event::Apply(('a', 2))));
        assert!(store.apply(Event::Delete(('a', 2))));
        assert!(!store.apply(Event::Delete(('a', 2))));
    }
}
