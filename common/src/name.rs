//! Names that people choose: a user, a net, and `user@net`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest user or net name, in bytes (guess: as a DNS label is for people to type, shorter than its 63).
pub const MAX_NAME_BYTES: usize = 32;

/// Why a text is not a name.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ParseNameError {
    /// Nothing there.
    #[error("a name cannot be empty")]
    Empty,
    /// Too long.
    #[error("a name has at most {MAX_NAME_BYTES} characters")]
    TooLong,
    /// A character that names do not have.
    #[error(
        "a name has only a-z, 0-9, '-', '_' and '.', and begins and ends with a letter or digit; not {0:?}"
    )]
    Character(char),
    /// `user@net` without its `@`.
    #[error("it should look like user@net")]
    NoNet,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Box<str>);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = ParseNameError;

            fn from_str(text: &str) -> Result<Self, ParseNameError> {
                check_name(text).map(|()| Self(text.into()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = ParseNameError;

            fn try_from(text: String) -> Result<Self, ParseNameError> {
                check_name(&text).map(|()| Self(text.into()))
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.into()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A user of one net: `bob` in `bob@lab`. Lower case, so that two names never look alike.
    UserName
);
name!(
    /// A net: `lab` in `bob@lab`.
    NetName
);

/// A user and the net where the name holds: `bob@lab`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserAddress {
    /// Who.
    pub user: UserName,
    /// In which net.
    pub net: NetName,
}

impl FromStr for UserAddress {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let (user, net) = text.split_once('@').ok_or(ParseNameError::NoNet)?;
        Ok(Self { user: user.parse()?, net: net.parse()? })
    }
}

impl TryFrom<String> for UserAddress {
    type Error = ParseNameError;

    fn try_from(text: String) -> Result<Self, ParseNameError> {
        text.parse()
    }
}

impl From<UserAddress> for String {
    fn from(address: UserAddress) -> String {
        address.to_string()
    }
}

impl fmt::Display for UserAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.net)
    }
}

impl fmt::Debug for UserAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn check_name(text: &str) -> Result<(), ParseNameError> {
    if text.is_empty() {
        return Err(ParseNameError::Empty);
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(ParseNameError::TooLong);
    }
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let first_and_last = [text.chars().next(), text.chars().next_back()];
    let wrong_edge = first_and_last.into_iter().flatten().find(|c| !alphanumeric(*c));
    let wrong_middle = text.chars().find(|c| !alphanumeric(*c) && !matches!(c, '-' | '_' | '.'));
    match wrong_middle.or(wrong_edge) {
        Some(character) => Err(ParseNameError::Character(character)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_address_survives_being_written_and_read() {
        let bob: UserAddress = "bob.w-2@lab".parse().unwrap();
        assert_eq!(bob.to_string(), "bob.w-2@lab");
    }

    #[test]
    fn names_that_could_deceive_are_refused() {
        assert_eq!("".parse::<UserName>(), Err(ParseNameError::Empty));
        assert_eq!("Bob".parse::<UserName>(), Err(ParseNameError::Character('B')));
        assert_eq!("b\nb".parse::<UserName>(), Err(ParseNameError::Character('\n')));
        assert_eq!("..".parse::<NetName>(), Err(ParseNameError::Character('.')));
        assert_eq!("b".repeat(33).parse::<UserName>(), Err(ParseNameError::TooLong));
        assert_eq!("bob".parse::<UserAddress>(), Err(ParseNameError::NoNet));
    }
}
