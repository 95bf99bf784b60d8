//! Lists one behind the other: on its own each would take more room than what is in it.

/// Lists, by their number.
#[derive(Debug)]
pub struct Lists<T> {
    ends: Box<[u32]>,
    items: Box<[T]>,
}

impl<T> Lists<T> {
    /// `items` in lists as long as `lengths` say, one behind the other.
    pub fn new(items: Box<[T]>, lengths: impl Iterator<Item = usize>) -> Self {
        let end = |end: &mut u32, length: usize| {
            *end = end.saturating_add(number(length));
            Some(*end)
        };
        Self { ends: lengths.scan(0, end).collect(), items }
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// That with this number; an empty one where there is none.
    pub fn get(&self, number: usize) -> &[T] {
        let begin = number.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied());
        let end = self.ends.get(number).copied();
        let range = begin.zip(end).map(|(begin, end)| begin as usize..end as usize);
        range.and_then(|range| self.items.get(range)).unwrap_or_default()
    }
}

/// Places and numbers are kept in half the bytes. There are never so many.
pub fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_list_is_found_by_its_number() {
        let lists = Lists::new("abcd".bytes().collect(), [2, 0, 1, 1].into_iter());
        let all: Vec<&[u8]> = (0..5).map(|number| lists.get(number)).collect();
        assert_eq!(all, [&b"ab"[..], b"", b"c", b"d", b""]);
        assert_eq!((lists.len(), lists.is_empty()), (4, false));
        assert!(Lists::new(Box::<[u8]>::default(), std::iter::empty()).is_empty());
    }
}
