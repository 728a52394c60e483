//! Beginning to write where an earlier process ended, however it ended.

use crate::chain::{Chain, OpenFile, json};
use crate::disk::Disk;
use crate::folder::{ChainFile, ChainLock, HeadFile, chain_files, make_folder, read_head};
use crate::line::{Link, read_line, sha256_of_part, write_line};
use crate::lines::Lines;
use crate::record::{Kind, Record};
use crate::{AuditError, AuditSettings};
use std::path::Path;

/// Where the last file of a log stops being one.
#[derive(Debug)]
struct End {
    file: ChainFile,
    /// Bytes of whole lines.
    whole_bytes: u64,
    /// Bytes of the file. What lies between the two is torn: no answer waited for it.
    bytes: u64,
    /// Whether the last byte is a line feed.
    is_ended: bool,
}

/// Opens the chain of this instance, and mends its end where that is torn.
///
/// # Errors
/// [`AuditError`] where another process writes it, or it cannot be read or written.
pub(crate) fn open(settings: &AuditSettings, disk: Box<dyn Disk>) -> Result<Chain, AuditError> {
    settings.check()?;
    let folder = settings.instance_folder()?;
    make_folder(&folder)?;
    let lock = ChainLock::acquire(&folder)?;
    let (mut last, end) = find_end(&folder)?;
    let head = read_head(&folder)?.filter(|head| head.sequence > last.sequence);
    let lost = head.as_ref().map_or(0, |head| head.sequence - last.sequence);
    if let Some(head) = head {
        tracing::error!(
            folder = %folder.display(),
            lost,
            "records that were acknowledged are not in the audit log any more; `descry audit verify` shows where"
        );
        // It goes on behind what was acknowledged, so that the hole stays to be seen.
        last = head;
    }
    let (max_file_bytes, head) = (settings.max_file_bytes, HeadFile::open(&folder)?);
    let mut chain = Chain { folder, max_file_bytes, disk, file: None, last, head, trouble: None, _lock: lock };
    match end {
        Some(end) => mend(&mut chain, end, lost)?,
        None if lost > 0 => chain.append(&[&mended(0, None, lost)?]).map(drop)?,
        None => {}
    }
    Ok(chain)
}

/// The last whole line of all files, and where the last file ends.
fn find_end(folder: &Path) -> Result<(Link, Option<End>), AuditError> {
    let mut end = None;
    for file in chain_files(folder)?.into_iter().rev() {
        let (last, of_file) = look_through(file)?;
        end.get_or_insert(of_file);
        if let Some(last) = last {
            return Ok((last, end));
        }
    }
    Ok((Link::origin(), end))
}

/// Follows the chain within a file to its last whole line.
fn look_through(file: ChainFile) -> Result<(Option<Link>, End), AuditError> {
    let mut lines = Lines::open(&file.path)?;
    let mut last: Option<Link> = None;
    let (mut whole_bytes, mut bytes, mut is_ended, mut goes_on) = (0, 0, true, true);
    while let Some(line) = lines.next()? {
        // A line that lacks its line feed alone is whole; it is given one.
        let read = if goes_on { read_line(line.content) } else { None };
        match read.filter(|read| last.as_ref().is_none_or(|last| read.previous == last.hash)) {
            Some(read) => (last, whole_bytes) = (Some(read.link), line.end),
            None => goes_on = false,
        }
        (bytes, is_ended) = (line.end, line.is_ended);
    }
    Ok((last, End { file, whole_bytes, bytes, is_ended }))
}

/// Goes on behind the end of a file. Where it is torn, the next line says what is torn: nothing is taken away.
fn mend(chain: &mut Chain, end: End, lost: u64) -> Result<(), AuditError> {
    let End { file: name, mut whole_bytes, mut bytes, is_ended } = end;
    let mut file = chain.disk.open(&name.path, bytes).map_err(AuditError::file(&name.path))?;
    if !is_ended {
        file.append(b"\n").and_then(|()| file.sync()).map_err(AuditError::file(&name.path))?;
        whole_bytes += u64::from(whole_bytes == bytes);
        bytes += 1;
    }
    if bytes == whole_bytes && lost == 0 {
        chain.file = Some(OpenFile { file, name, bytes });
        return Ok(());
    }
    let torn = bytes - whole_bytes;
    let sha256 = match torn {
        0 => None,
        _ => Some(sha256_of_part(&name.path, whole_bytes, bytes)?),
    };
    let record = mended(torn, sha256, lost)?;
    let mut lines = Vec::new();
    let link = write_line(&mut lines, &chain.last, &record);
    file.append(&lines).and_then(|()| file.sync()).map_err(AuditError::file(&name.path))?;
    tracing::warn!(file = %name.path.display(), torn, "the end of the audit log was torn; a record says so now");
    let bytes = bytes + lines.len() as u64;
    (chain.file, chain.last) = (Some(OpenFile { file, name, bytes }), link);
    Ok(())
}

fn mended(torn: u64, sha256: Option<String>, lost: u64) -> Result<Vec<u8>, AuditError> {
    let mut record = Record { sha256, ..Record::new(Kind::Mended) };
    record.count("torn_bytes", torn);
    if lost > 0 {
        record.count("lost_records", lost);
    }
    json(record)
}
