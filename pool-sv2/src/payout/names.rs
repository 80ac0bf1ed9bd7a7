//! Names of accounts as numbers, for what is kept of the books on disk: a name stands in many
//! places, and is long.

use std::collections::HashMap;
use std::sync::Arc;

/// Names and their numbers.
#[derive(Debug, Default)]
pub struct Names {
    all: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Names {
    /// Numbers them in this order.
    pub fn new(all: impl IntoIterator<Item = Arc<str>>) -> Self {
        let mut this = Self::default();
        for name in all {
            this.number(&name);
        }
        this
    }

    /// The number that stands for `name`; given to it now if it has none.
    pub fn number(&mut self, name: &Arc<str>) -> u32 {
        let next = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(Arc::clone(name)).or_insert(next);
        if number == next {
            self.all.push(Arc::clone(name));
        }
        number
    }

    /// The name that a number stands for.
    pub fn name(&self, number: u32) -> Option<&Arc<str>> {
        self.all.get(usize::try_from(number).ok()?)
    }

    /// All of them, in the order of their numbers.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|name| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_number_and_comes_back() {
        let [ann, bob] = ["ann", "bob"].map(Arc::from);
        let mut names = Names::new([Arc::clone(&ann)]);
        let numbers = [names.number(&bob), names.number(&ann), names.number(&bob)];
        assert_eq!(numbers, [1, 0, 1]);
        assert_eq!(names.all().collect::<Vec<_>>(), ["ann", "bob"]);
        assert_eq!((names.name(1), names.name(2)), (Some(&bob), None));
    }
}
