//! What a call needs of who makes it, and the one decision whether it may be made.

use crate::{Principal, Scope, Verb};
use std::fmt;

/// What a call needs. It stands beside the call's definition, in its `.proto` file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// This, in each gallery that the call names.
    Gallery(Verb),
    /// Any of searching, indexing and managing in each gallery that the call names: who may do something in a gallery may
    /// know that it is there.
    Sight,
    /// Any scope at all. The answer concerns only what the caller may see.
    Anything,
    /// The scope `encode`.
    Encode,
    /// The scope `audit`.
    Audit,
    /// The scope `admin`.
    Admin,
    /// Managing each gallery that the call names, and that need not be there.
    Create,
}

/// Where a message comes in its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is the only one, or the first of a stream.
    First,
    /// It comes later in a stream, whose first message has named the gallery.
    Further,
}

/// A message, or a part of one, of which is known which galleries it names. Made from the `.proto` files.
pub trait NamesGalleries {
    /// Calls `visit` with each gallery, or generation of one, that is named, and with what is needed there besides what the
    /// call itself needs.
    fn visit_galleries<'message>(&'message self, visit: &mut dyn FnMut(&'message str, Option<Verb>));

    /// How many images it brings to be indexed or encoded.
    fn images(&self) -> usize {
        0
    }
}

/// A message that a call begins with. Made from the `.proto` files.
pub trait Guarded: NamesGalleries {
    /// What the call needs.
    const NEEDS: Needs;
    /// Whether the message is a list of calls that are decided one by one, so that one that is denied leaves the others.
    const BY_ITEM: bool = false;
}

/// Why a call may not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// Nobody proved who calls.
    Unproven,
    /// The caller may do nothing in a gallery that is named. To be told as if it were not there.
    UnknownGallery {
        /// The gallery, or the generation of one, as the call names it.
        address: String,
    },
    /// The caller may know of all that is named, and lacks a scope.
    MissingScope {
        /// The scope, as it would have to be given.
        scope: String,
    },
    /// The caller has used up what they may use.
    Exceeded {
        /// What is used up, in words.
        what: &'static str,
        /// After how long some of it is there again, in milliseconds.
        retry_after_ms: u64,
    },
    /// A single call asks for more than the caller may ever use at once.
    TooMuch {
        /// Of what, in words.
        what: &'static str,
        /// What the caller may use.
        most: u32,
    },
}

/// For people who run the service: callers must not be told why a gallery is not there for them.
impl fmt::Display for Denial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unproven => formatter.write_str(
                "it is not known who calls: send a valid token as `authorization: Bearer …` (descry: --token-file FILE, or \
                 the variable DESCRY_TOKEN)",
            ),
            Self::UnknownGallery { address } => write!(formatter, "the caller has no scope of gallery {address:?}"),
            Self::MissingScope { scope } => {
                write!(formatter, "this needs the scope {scope}, which the caller's token or certificate does not have")
            }
            Self::Exceeded { what, retry_after_ms } => {
                write!(formatter, "the caller's {what} are used up; try again in {retry_after_ms} ms")
            }
            Self::TooMuch { what, most } => write!(formatter, "the caller's {what} are {most}; send fewer at once"),
        }
    }
}

/// The gallery that an address belongs to: names have no dots, and behind one is the number of a generation.
pub fn gallery_of(address: &str) -> &str {
    address.split_once('.').map_or(address, |(gallery, _)| gallery)
}

/// Whether the principal may make such a call at all, as far as that can be said before a message of it has come.
///
/// # Errors
/// [`Denial::MissingScope`].
pub fn decide_call<Message: Guarded>(principal: &Principal) -> Result<(), Denial> {
    let needed = match Message::NEEDS {
        Needs::Gallery(_) | Needs::Sight | Needs::Create => return Ok(()),
        Needs::Anything if principal.scopes.is_empty() => {
            return Err(Denial::MissingScope { scope: "of any kind".to_owned() });
        }
        Needs::Anything => return Ok(()),
        Needs::Encode => Scope::Encode,
        Needs::Audit => Scope::Audit,
        Needs::Admin => Scope::Admin,
    };
    if principal.scopes.contains(&needed) { Ok(()) } else { Err(Denial::MissingScope { scope: needed.to_string() }) }
}

/// Whether the principal may make the call. Asks nobody and nothing but the principal's scopes, so what is not there is denied
/// like what is.
///
/// # Errors
/// The [`Denial`]: of a gallery that the principal may not know of before a scope that is missing, so that a scope is named
/// only to who may know of all that the call names.
pub fn decide<Message: Guarded>(principal: &Principal, message: &Message, place: Place) -> Result<(), Denial> {
    decide_call::<Message>(principal)?;
    let verb = match Message::NEEDS {
        Needs::Gallery(verb) => Some(verb),
        Needs::Create => Some(Verb::Manage),
        Needs::Sight => None,
        Needs::Anything | Needs::Encode | Needs::Audit | Needs::Admin => return Ok(()),
    };
    let (mut named, mut unknown, mut missing) = (false, None, None);
    message.visit_galleries(&mut |address, also| {
        named = true;
        let gallery = gallery_of(address);
        if Message::NEEDS != Needs::Create && !principal.may_see(gallery) {
            unknown = unknown.take().or(Some(address));
        }
        let lacking = verb.into_iter().chain(also).find(|verb| !principal.may(*verb, gallery));
        missing = missing.take().or(lacking.map(|verb| (verb, gallery)));
    });
    if let Some(address) = unknown {
        return Err(Denial::UnknownGallery { address: address.to_owned() });
    }
    // A call about galleries that names none is about all or nothing; neither may be asked by who has only some.
    if !named && place == Place::First && !Message::BY_ITEM {
        return Err(Denial::UnknownGallery { address: String::new() });
    }
    match missing {
        Some((verb, gallery)) => Err(Denial::MissingScope { scope: format!("{verb}:{gallery}") }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call that names these galleries, and of each whether it is to be made where it is missing.
    struct Call(Vec<(&'static str, bool)>);

    impl NamesGalleries for Call {
        fn visit_galleries<'message>(&'message self, visit: &mut dyn FnMut(&'message str, Option<Verb>)) {
            self.0.iter().for_each(|(gallery, makes)| visit(gallery, makes.then_some(Verb::Manage)));
        }
    }

    impl Guarded for Call {
        const NEEDS: Needs = Needs::Gallery(Verb::Index);
    }

    fn decided(scopes: &[&str], galleries: &[(&'static str, bool)], place: Place) -> Result<(), Denial> {
        let scopes = scopes.iter().map(|scope| scope.parse().unwrap()).collect();
        decide(&Principal { name: "someone".to_owned(), scopes }, &Call(galleries.to_vec()), place)
    }

    fn unknown(address: &str) -> Result<(), Denial> {
        Err(Denial::UnknownGallery { address: address.to_owned() })
    }

    fn missing(scope: &str) -> Result<(), Denial> {
        Err(Denial::MissingScope { scope: scope.to_owned() })
    }

    #[test]
    fn a_gallery_that_one_may_not_know_of_is_not_there() {
        let decided = |scopes, galleries| decided(scopes, galleries, Place::First);
        assert_eq!(decided(&["index:lobby"], &[("lobby", false)]), Ok(()));
        assert_eq!(decided(&["index:lobby"], &[("lobby.2", false)]), Ok(()), "a generation belongs to its gallery");
        assert_eq!(decided(&["index:lobby"], &[("yard.2", false)]), unknown("yard.2"));
        assert_eq!(decided(&["admin", "encode", "audit"], &[("lobby", false)]), unknown("lobby"));
        assert_eq!(decided(&["search:lobby"], &[("lobby.2", false)]), missing("index:lobby"));
        // What is missing elsewhere is not told before it is known that all may be known of.
        assert_eq!(decided(&["search:lobby"], &[("lobby", false), ("yard", false)]), unknown("yard"));
    }

    #[test]
    fn what_is_needed_besides_is_named() {
        assert_eq!(decided(&["index:lobby"], &[("lobby", true)], Place::First), missing("manage:lobby"));
        assert_eq!(decided(&["index:*", "manage:lobby"], &[("lobby", true)], Place::First), Ok(()));
    }

    #[test]
    fn a_call_that_names_no_gallery_is_denied_but_within_a_stream() {
        assert_eq!(decided(&["index:*"], &[], Place::First), unknown(""));
        assert_eq!(decided(&["index:lobby"], &[], Place::Further), Ok(()));
        assert_eq!(decided(&["index:lobby"], &[("yard", false)], Place::Further), unknown("yard"));
        // An empty name stands for all galleries where a call says so: who may in all of them may ask.
        assert_eq!(decided(&["index:lobby"], &[("", false)], Place::First), unknown(""));
        assert_eq!(decided(&["index:*"], &[("", false)], Place::First), Ok(()));
    }
}
