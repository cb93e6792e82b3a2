//! Lists that are longer than one answer.

/// Which part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The last thing of the part before; none for the first part.
    pub after: Option<Cursor>,
    /// How many at most; at least 1.
    pub limit: u32,
    /// In which order.
    pub order: Order,
}

/// In which order a list is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By the time of creation, the oldest first.
    OldestFirst,
    /// By the time of creation, the newest first.
    NewestFirst,
}

/// A place in a list. What the numbers mean is the store's business; they stay the same as the list grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(pub i64, pub i64);

/// A part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed<T> {
    /// What is in it.
    pub items: Vec<T>,
    /// Where the next part begins; none when there is no more.
    pub next: Option<Cursor>,
}
