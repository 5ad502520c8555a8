//! The authority's books, on disk: tickets, members, names given, certificates taken back.
//!
//! Each change is one durable transaction, committed before anybody is told of it.

use std::path::Path;

use nearmesh_common::{
    NodeId, UnixMillis, UserName, codec,
    identity::{Serial, TicketSecret},
};
use redb::{Database, Error, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error as ThisError;

use super::admission::{Facts, Grounds, MemberEntry, Policy, TicketEntry};

/// By the hash of the secret, which itself is not kept.
const TICKETS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("tickets");
const MEMBERS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("members");
/// Every name that was ever given; when.
const NAMES: TableDefinition<&str, u64> = TableDefinition::new("names");
/// Serial numbers; when revoked.
const REVOKED: TableDefinition<&[u8; 16], u64> = TableDefinition::new("revoked");
const SINGLE: TableDefinition<&str, &[u8]> = TableDefinition::new("single");
const CHARTER: &str = "charter";
const CRL: &str = "crl";

/// What was settled when the net was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Charter {
    pub policy: Policy,
    pub authority: NodeId,
    pub user: UserName,
}

/// The newest revocation list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CurrentCrl {
    pub number: u64,
    pub der: Box<[u8]>,
}

/// The books cannot be read or written.
#[derive(Debug, ThisError)]
#[error("the authority's books are unusable: {0}")]
pub struct BooksError(Box<Error>);

pub(super) struct Books(Database);

/// The books, open for one transaction.
pub(super) struct Page<'txn> {
    tickets: Table<'txn, &'static [u8; 32], &'static [u8]>,
    members: Table<'txn, &'static [u8; 32], &'static [u8]>,
    names: Table<'txn, &'static str, u64>,
    revoked: Table<'txn, &'static [u8; 16], u64>,
    single: Table<'txn, &'static str, &'static [u8]>,
    changed: bool,
}

impl<E: Into<Error>> From<E> for BooksError {
    fn from(error: E) -> Self {
        Self(Box::new(error.into()))
    }
}

impl Books {
    pub fn create(path: &Path, charter: &Charter) -> Result<Self, BooksError> {
        let books = Self(Database::create(path)?);
        books.write(|page| {
            page.changed = true;
            page.single.insert(CHARTER, codec::encode(charter).as_slice())?;
            Ok::<_, BooksError>(())
        })?;
        Ok(books)
    }

    pub fn open(path: &Path) -> Result<(Self, Charter), BooksError> {
        let books = Self(Database::open(path)?);
        let charter = books.single(CHARTER)?.ok_or_else(|| Error::Corrupted("no charter".to_owned()))?;
        Ok((books, charter))
    }

    pub fn crl(&self) -> Result<CurrentCrl, BooksError> {
        Ok(self.single(CRL)?.unwrap_or_default())
    }

    /// Does `work` in one transaction. What it changed is on disk when this returns `Ok`, and undone otherwise.
    pub fn write<T, E: From<BooksError>>(
        &self,
        work: impl FnOnce(&mut Page<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let transaction = self.0.begin_write().map_err(BooksError::from)?;
        let mut page = Page::open(&transaction)?;
        let result = work(&mut page)?;
        let changed = page.changed;
        drop(page);
        // A refusal must not cost a write to the disk.
        if changed {
            transaction.commit().map_err(BooksError::from)?;
        }
        Ok(result)
    }

    fn single<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, BooksError> {
        let table = self.0.begin_read()?.open_table(SINGLE)?;
        let value = table.get(key)?;
        value.map(|value| decode(value.value())).transpose()
    }
}

impl<'txn> Page<'txn> {
    fn open(transaction: &'txn WriteTransaction) -> Result<Self, BooksError> {
        Ok(Self {
            tickets: transaction.open_table(TICKETS)?,
            members: transaction.open_table(MEMBERS)?,
            names: transaction.open_table(NAMES)?,
            revoked: transaction.open_table(REVOKED)?,
            single: transaction.open_table(SINGLE)?,
            changed: false,
        })
    }

    pub fn add_ticket(&mut self, secret: &TicketSecret, ticket: &TicketEntry) -> Result<(), BooksError> {
        self.changed = true;
        self.tickets.insert(&hashed(&secret.0), codec::encode(ticket).as_slice())?;
        Ok(())
    }

    pub fn grounds(&self, secret: &[u8]) -> Result<Grounds, BooksError> {
        if secret.is_empty() {
            return Ok(Grounds::OpenNet);
        }
        match self.tickets.get(&hashed(secret))? {
            Some(ticket) => Ok(Grounds::Ticket(decode(ticket.value())?)),
            None => Ok(Grounds::UnknownTicket),
        }
    }

    pub fn facts(
        &self,
        policy: Policy,
        node: NodeId,
        user: &UserName,
        wall: UnixMillis,
    ) -> Result<Facts, BooksError> {
        let member = self.members.get(&node.0)?.map(|member| decode(member.value())).transpose()?;
        let name_taken = self.names.get(user.as_str())?.is_some() || self.open_tickets(user, wall)? > 0;
        Ok(Facts { policy, member, name_taken })
    }

    /// Enters a new member, and that its ticket, if it had one, is used.
    pub fn admit(&mut self, node: NodeId, member: &MemberEntry, secret: &[u8]) -> Result<(), BooksError> {
        self.changed = true;
        self.members.insert(&node.0, codec::encode(member).as_slice())?;
        self.names.insert(member.user.as_str(), member.since.0)?;
        if let Grounds::Ticket(ticket) = self.grounds(secret)? {
            let used = TicketEntry { used_by: Some(node), ..ticket };
            self.tickets.insert(&hashed(secret), codec::encode(&used).as_slice())?;
        }
        Ok(())
    }

    pub fn nodes_of(&self, user: &UserName) -> Result<Vec<(NodeId, MemberEntry)>, BooksError> {
        let mut nodes = Vec::new();
        for entry in self.members.iter()? {
            let (node, member) = entry?;
            let member: MemberEntry = decode(member.value())?;
            if member.user == *user {
                nodes.push((NodeId(*node.value()), member));
            }
        }
        Ok(nodes)
    }

    /// Strikes a member off.
    pub fn expel(&mut self, node: NodeId, serial: Serial, wall: UnixMillis) -> Result<(), BooksError> {
        self.changed = true;
        self.members.remove(&node.0)?;
        self.revoked.insert(&serial.0, wall.0)?;
        Ok(())
    }

    /// Makes the unused tickets for `user` worthless; says how many there were.
    pub fn withdraw_tickets(&mut self, user: &UserName) -> Result<usize, BooksError> {
        self.remove_tickets(|ticket| ticket.used_by.is_none() && ticket.user.as_ref() == Some(user))
    }

    /// Forgets tickets that ended before `limit`.
    pub fn forget_tickets(&mut self, limit: UnixMillis) -> Result<usize, BooksError> {
        self.remove_tickets(|ticket| ticket.expires < limit)
    }

    pub fn revoked(&self) -> Result<Vec<(Serial, UnixMillis)>, BooksError> {
        let entries = self.revoked.iter()?;
        entries
            .map(|entry| {
                let (serial, at) = entry?;
                Ok((Serial(*serial.value()), UnixMillis(at.value())))
            })
            .collect()
    }

    pub fn crl_number(&self) -> Result<u64, BooksError> {
        let crl = self.single.get(CRL)?.map(|value| decode::<CurrentCrl>(value.value())).transpose()?;
        Ok(crl.unwrap_or_default().number)
    }

    pub fn set_crl(&mut self, crl: &CurrentCrl) -> Result<(), BooksError> {
        self.changed = true;
        self.single.insert(CRL, codec::encode(crl).as_slice())?;
        Ok(())
    }

    /// How many tickets name `user` and are still good.
    pub fn open_tickets(&self, user: &UserName, wall: UnixMillis) -> Result<usize, BooksError> {
        let mut count = 0;
        for entry in self.tickets.iter()? {
            let ticket: TicketEntry = decode(entry?.1.value())?;
            let good = ticket.used_by.is_none() && ticket.expires > wall;
            count += usize::from(good && ticket.user.as_ref() == Some(user));
        }
        Ok(count)
    }

    fn remove_tickets(&mut self, which: impl Fn(&TicketEntry) -> bool) -> Result<usize, BooksError> {
        let mut hashes = Vec::new();
        for entry in self.tickets.iter()? {
            let (hash, ticket) = entry?;
            if which(&decode(ticket.value())?) {
                hashes.push(*hash.value());
            }
        }
        self.changed |= !hashes.is_empty();
        for hash in &hashes {
            self.tickets.remove(hash)?;
        }
        Ok(hashes.len())
    }
}

fn hashed(secret: &[u8]) -> [u8; 32] {
    blake3::derive_key("nearmesh ticket secret 1", secret)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BooksError> {
    codec::decode(bytes).map_err(|error| Error::Corrupted(error.to_string()).into())
}
