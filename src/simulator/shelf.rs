//! What is kept in memory, bounded: when there is too much, the oldest goes.

use std::collections::{HashMap, VecDeque};

/// How much all the things on one shelf may weigh, in bytes.
const LIMIT_BYTES: usize = 64 << 20;
/// How many things there may be on one shelf.
const LIMIT: usize = 10_000;

/// Things by their ids, in the order in which they were put there.
#[derive(Debug)]
pub(super) struct Shelf<T> {
    things: HashMap<String, (usize, T)>,
    order: VecDeque<String>,
    bytes: usize,
}

// Derived, it would ask for a `T` that has a default.
impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self {
            things: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<T> Shelf<T> {
    /// Adds a thing under a new id.
    pub fn put(&mut self, id: String, bytes: usize, thing: T) {
        self.order.push_back(id.clone());
        self.things.insert(id, (bytes, thing));
        self.bytes += bytes;
        self.shed();
    }

    pub fn get(&self, id: &str) -> Option<&T> {
        self.things.get(id).map(|(_, thing)| thing)
    }

    pub fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        self.things.get_mut(id).map(|(_, thing)| thing)
    }

    /// Notes that a thing has grown.
    pub fn add_weight(&mut self, id: &str, more: usize) {
        if let Some((bytes, _)) = self.things.get_mut(id) {
            *bytes += more;
            self.bytes += more;
            self.shed();
        }
    }

    pub fn remove(&mut self, id: &str) -> Option<T> {
        let (bytes, thing) = self.things.remove(id)?;
        self.bytes -= bytes;
        self.order.retain(|known| known != id);
        Some(thing)
    }

    /// Everything, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.order.iter().filter_map(|id| self.get(id))
    }

    /// The newest stays, however much it weighs.
    fn shed(&mut self) {
        while self.order.len() > 1 && (self.order.len() > LIMIT || self.bytes > LIMIT_BYTES) {
            let oldest = self.order.pop_front().and_then(|id| self.things.remove(&id));
            self.bytes -= oldest.map_or(0, |(bytes, _)| bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let mut shelf = Shelf::default();
        for index in 0..LIMIT + 2 {
            shelf.put(index.to_string(), 1, index);
        }
        assert_eq!(
            (shelf.get("1"), shelf.get("2"), shelf.iter().next()),
            (None, Some(&2), Some(&2))
        );
        shelf.add_weight("5", LIMIT_BYTES);
        assert_eq!((shelf.get("5"), shelf.bytes), (None, LIMIT - 4));
        assert_eq!(shelf.remove("6"), Some(6));
        assert_eq!((shelf.remove("6"), shelf.bytes), (None, LIMIT - 5));
        shelf.put("large".to_owned(), 2 * LIMIT_BYTES, 0);
        assert_eq!(shelf.iter().collect::<Vec<_>>(), [&0]);
    }
}
