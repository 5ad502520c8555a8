use proptest::prelude::*;

use crate::{
    NodeId, UnixMillis,
    identity::{MAX_TICKET_ADDRESSES, MAX_TICKET_CHARS, ParseTicketError, RootKey, Ticket, TicketSecret},
    wire::NodeAddress,
};

fn ticket(addresses: usize, name: &str) -> Ticket {
    Ticket {
        net: name.parse().unwrap(),
        root: RootKey([0xff; 32]),
        authority: NodeAddress {
            node: NodeId([0xff; 32]),
            addresses: vec!["[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap(); addresses],
        },
        user: Some(name.parse().unwrap()),
        secret: Some(TicketSecret([0xff; 16])),
        expires: UnixMillis(u64::MAX),
    }
}

#[test]
fn a_ticket_survives_being_written_pasted_and_read() {
    let ticket = ticket(2, "lab");
    let text = ticket.to_string();
    assert_eq!(text.lines().count(), 1);
    assert!(text.starts_with("nearmesh1") && text.chars().all(|c| c.is_ascii_alphanumeric()), "{text}");
    assert_eq!(text.parse(), Ok(ticket.clone()));
    assert_eq!(format!("  {}\r\n", text.to_uppercase()).parse(), Ok(ticket));
}

#[test]
fn the_longest_ticket_fits_its_limit() {
    let longest = ticket(MAX_TICKET_ADDRESSES, &"n".repeat(crate::name::MAX_NAME_BYTES)).to_string();
    assert!(longest.len() <= MAX_TICKET_CHARS, "{} characters", longest.len());
    assert!(longest.parse::<Ticket>().is_ok());
}

#[test]
fn a_text_that_is_no_ticket_is_refused_with_the_reason() {
    let parse = |text: &str| text.parse::<Ticket>().unwrap_err();
    let text = ticket(1, "lab").to_string();
    assert_eq!(parse(""), ParseTicketError::NotATicket);
    assert_eq!(parse("bob@lab"), ParseTicketError::NotATicket);
    assert_eq!(parse("nearmesh"), ParseTicketError::NotATicket);
    assert_eq!(parse("nearmeshx"), ParseTicketError::NotATicket);
    assert_eq!(parse("nearmesh1"), ParseTicketError::Damaged);
    assert_eq!(parse("nearmesh1é"), ParseTicketError::Damaged);
    assert_eq!(parse(&text.replacen('1', "2", 1)), ParseTicketError::Newer);
    assert_eq!(parse(&"n".repeat(MAX_TICKET_CHARS + 1)), ParseTicketError::TooLong);
    let crowded = ticket(MAX_TICKET_ADDRESSES + 1, "lab").to_string();
    assert_eq!(parse(&crowded), ParseTicketError::Damaged);
}

#[test]
fn a_cut_or_mistyped_ticket_is_told_as_such() {
    let text = ticket(1, "lab").to_string();
    for cut in "nearmesh1".len()..text.len() {
        assert_eq!(text[..cut].parse::<Ticket>(), Err(ParseTicketError::Damaged), "cut at {cut}");
    }
    for at in "nearmesh1".len()..text.len() {
        let wrong = if text.as_bytes()[at] == b'a' { "b" } else { "a" };
        let mistyped = format!("{}{wrong}{}", &text[..at], &text[at + 1..]);
        assert_eq!(mistyped.parse::<Ticket>(), Err(ParseTicketError::Damaged), "mistyped at {at}");
    }
}

#[test]
fn the_secret_shows_nowhere_but_in_the_ticket() {
    let shown = format!("{:?}", ticket(1, "lab"));
    assert!(shown.contains("TicketSecret") && !shown.contains("255"), "{shown}");
}

proptest! {
    #[test]
    fn garbage_never_panics(text in any::<String>(), body in "[a-z2-7]{0,300}") {
        prop_assert!(text.parse::<Ticket>().is_err());
        prop_assert!(["nearmesh1", &body].concat().parse::<Ticket>().is_err());
        prop_assert!(["nearmesh1", &text].concat().parse::<Ticket>().is_err());
    }
}
