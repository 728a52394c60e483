//! The members of a tar archive, links among them: a link to an earlier member has that member's content, as it has when
//! GNU tar unpacks the archive.

use crate::archive_encoding::ArchiveEncoding;
use crate::image_entry::id_digest;
use crate::member_stream::{Member, MemberContent, MemberKind, MemberStream};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

/// Members that links can lead to. Each takes some 40 bytes of memory.
const MAX_TARGETS: usize = 1 << 22;

/// How often a compressed archive is read again from its beginning for the sake of links that lead further back than the
/// last one did. Archives hold links in the order of their targets, mostly, and need one.
const MAX_REWINDS: u32 = 32;

/// A file that a link can lead to.
#[derive(Debug, Clone, Copy)]
struct Target {
    /// Where its headers begin.
    place: u64,
    bytes: u64,
}

/// The members of an archive. The content of each is read with [`TarMembers::content`] or left out.
pub(crate) struct TarMembers {
    path: PathBuf,
    encoding: ArchiveEncoding,
    max_bytes: u64,
    stream: MemberStream,
    targets: HashMap<u128, Target>,
    /// Where the link in hand leads.
    linked: Option<Target>,
    /// A second reader, for what links lead to.
    rereading: Option<MemberStream>,
    rewinds: u32,
}

impl TarMembers {
    /// Opens an archive, plain or in gzip. Contents over `max_bytes` are not going to be read.
    pub(crate) fn open(path: &Path, max_bytes: u64) -> io::Result<Self> {
        let encoding = ArchiveEncoding::of(path)?;
        let stream = MemberStream::open(path, encoding, 0, max_bytes)?;
        let (path, targets) = (path.to_owned(), HashMap::new());
        Ok(Self { path, encoding, max_bytes, stream, targets, linked: None, rereading: None, rewinds: 0 })
    }

    /// The next member's header, or `None` behind the last. A link to a file that came before is given as a file.
    ///
    /// # Errors
    /// When the archive is damaged or ends inside a member; nothing behind can be read then.
    pub(crate) fn next_member(&mut self) -> io::Result<Option<Member>> {
        self.linked = None;
        let Some(mut member) = self.stream.next_member()? else { return Ok(None) };
        let Ok(path) = &member.path else { return Ok(Some(member)) };
        let target = match &member.kind {
            MemberKind::File => Some(Target { place: member.place, bytes: member.bytes }),
            MemberKind::HardLink(to) => self.find("", to),
            MemberKind::SymbolicLink(to) if to.starts_with(b"/") => None,
            MemberKind::SymbolicLink(to) => self.find(path.rsplit_once('/').map_or("", |(folder, _)| folder), to),
            MemberKind::Folder | MemberKind::Special | MemberKind::Note => return Ok(Some(member)),
        };
        let Some(target) = target else { return Ok(Some(member)) };
        if self.targets.len() < MAX_TARGETS
            && let Some(path) = resolve("", path)
        {
            self.targets.insert(id_digest(&path), target);
        }
        if member.kind != MemberKind::File {
            (self.linked, member.bytes, member.kind) = (Some(target), target.bytes, MemberKind::File);
        }
        Ok(Some(member))
    }

    /// The content of the member that [`TarMembers::next_member`] gave last; its size is to be checked before.
    ///
    /// # Errors
    /// When the archive ends inside it.
    pub(crate) fn content(&mut self) -> io::Result<MemberContent> {
        let Some(target) = self.linked.take() else { return self.stream.content() };
        let is_ahead = match &mut self.rereading {
            Some(stream) if self.encoding == ArchiveEncoding::Gzip => stream.skip_to(target.place)?,
            Some(_) | None => false,
        };
        if !is_ahead {
            if self.encoding == ArchiveEncoding::Gzip {
                if self.rewinds == MAX_REWINDS {
                    let reason = "the archive would have to be read from its beginning too often for the links in it; \
                                  unpack it and index the folder";
                    return Ok(Err(reason.to_owned()));
                }
                self.rewinds += 1;
            }
            self.rereading = Some(MemberStream::open(&self.path, self.encoding, target.place, self.max_bytes)?);
        }
        let Some(stream) = &mut self.rereading else { return Ok(Err("its target is gone".to_owned())) };
        match stream.next_member()? {
            Some(_) => stream.content(),
            None => Ok(Err("its target is gone".to_owned())),
        }
    }

    fn find(&self, folder: &str, to: &[u8]) -> Option<Target> {
        let path = resolve(folder, std::str::from_utf8(to).ok()?)?;
        self.targets.get(&id_digest(&path)).copied()
    }
}

/// A path inside the archive in its shortest form; none where it leads out of the archive.
fn resolve(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests;
