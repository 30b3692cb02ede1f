//! The four statuses of an order. What is terminal is decided here and nowhere else.

use std::fmt;

/// A status as it stands on the wire, always written as a string there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// `1`: terminal, the order succeeded.
    Success,
    /// `2`: terminal, the order failed; the business may retry only under a new number.
    Failure,
    /// `3`: the owner knows the order and has no outcome yet.
    InProgress,
    /// `4`: the owner does not know (yet) what this order is; never a failure by itself.
    Unknown,
}

/// A status that ends an order's life: absolutely trusted, written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Terminal {
    /// `1`.
    Success,
    /// `2`.
    Failure,
}

/// A status after which the order stays pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Open {
    /// `3`.
    #[default]
    InProgress,
    /// `4`.
    Unknown,
}

impl Status {
    /// Reads `"1"` to `"4"`; anything else is not a status.
    pub fn from_code(code: &str) -> Option<Self> {
        match code {
            "1" => Some(Self::Success),
            "2" => Some(Self::Failure),
            "3" => Some(Self::InProgress),
            "4" => Some(Self::Unknown),
            _ => None,
        }
    }

    /// Reads 1 to 4, for writers that send a number.
    pub fn from_number(code: u64) -> Option<Self> {
        match code {
            1 => Some(Self::Success),
            2 => Some(Self::Failure),
            3 => Some(Self::InProgress),
            4 => Some(Self::Unknown),
            _ => None,
        }
    }

    /// The wire form.
    pub fn code(self) -> &'static str {
        match self {
            Self::Success => "1",
            Self::Failure => "2",
            Self::InProgress => "3",
            Self::Unknown => "4",
        }
    }

    /// Splits into what ends an order and what leaves it pending.
    pub fn split(self) -> Result<Terminal, Open> {
        match self {
            Self::Success => Ok(Terminal::Success),
            Self::Failure => Ok(Terminal::Failure),
            Self::InProgress => Err(Open::InProgress),
            Self::Unknown => Err(Open::Unknown),
        }
    }
}

impl From<Terminal> for Status {
    fn from(terminal: Terminal) -> Self {
        match terminal {
            Terminal::Success => Self::Success,
            Terminal::Failure => Self::Failure,
        }
    }
}

impl From<Open> for Status {
    fn from(open: Open) -> Self {
        match open {
            Open::InProgress => Self::InProgress,
            Open::Unknown => Self::Unknown,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
