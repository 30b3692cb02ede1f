//! Parts that many worlds share until one changes its own, and the print by which a part is told
//! from others: a hash of all that Debug says of it, so that a field that is added later counts
//! without anybody's care.

use std::cell::OnceCell;
use std::fmt::{Debug, Write};
use std::ops::Deref;
use std::rc::Rc;

/// Shared until it is changed.
#[derive(Debug)]
pub struct Part<T>(Rc<(T, OnceCell<u64>)>);

impl<T> Clone for Part<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Deref for Part<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.0
    }
}

impl<T: Clone> Part<T> {
    pub fn new(content: T) -> Self {
        Self(Rc::new((content, OnceCell::new())))
    }

    /// This world's own copy, to be changed.
    pub fn change(&mut self) -> &mut T {
        let (content, print) = Rc::make_mut(&mut self.0);
        *print = OnceCell::new();
        content
    }

    /// The print of the content, made once.
    pub fn print(&self, of: impl FnOnce(&T) -> u64) -> u64 {
        *self.0.1.get_or_init(|| of(&self.0.0))
    }

    /// Whether both are the same copy.
    pub fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

/// The print of what Debug says.
pub fn print(content: &dyn Debug) -> u64 {
    print_but(content, &[])
}

/// The print of what Debug says but for the numbers that these fields hold.
pub fn print_but(content: &dyn Debug, fields: &[&str]) -> u64 {
    let mut text = String::with_capacity(4_096);
    write!(text, "{content:?}").unwrap();
    for field in fields {
        let mut from = 0;
        while let Some(at) = text[from..].find(field) {
            from += at + field.len();
            let number = text[from..].bytes().take_while(u8::is_ascii_digit);
            let end = from + number.count();
            text.replace_range(from..end, "");
        }
    }
    mixed(text.as_bytes())
}

fn mixed(text: &[u8]) -> u64 {
    let mut words = text.chunks_exact(8);
    let mut print = text.len() as u64;
    for word in &mut words {
        print = mix(print, u64::from_le_bytes(word.try_into().unwrap()));
    }
    let mut last = [0; 8];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    mix(print, u64::from_le_bytes(last))
}

/// Folds one more word into a print.
pub fn mix(print: u64, word: u64) -> u64 {
    let product = u128::from(print ^ 0xa076_1d64_78bd_642f)
        .wrapping_mul(u128::from(word ^ 0xe703_7ed1_a0b4_28db));
    (product as u64) ^ ((product >> 64) as u64) ^ print.rotate_left(23)
}
