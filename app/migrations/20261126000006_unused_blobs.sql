-- What attachments let go of before the triggers were there. Looks at all blobs, for the last time; in a transaction of
-- its own, so that nobody who posts has to wait for it.
insert into released_blob (blob_id)
    select id from blob where not exists (select from attachment where attachment.blob_id = blob.id);
