#define _GNU_SOURCE
#include "archive-part.h"

#include <errno.h>
#include <sys/sendfile.h>
#include <unistd.h>

/* Writes up to a place in the bytes. Returns 0 or an errno. */
static int write_up_to(struct silt_archive_part *part, uint32_t end)
{
	while (part->written < end) {
		ssize_t count = write(part->out, part->bytes + part->written, end - part->written);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return count < 0 ? errno : EIO;
		part->written += (uint32_t)count;
	}
	return 0;
}

static int send_contents(struct silt_archive_part *part, const struct silt_archive_send *file)
{
	for (part->moved = 0; part->moved < file->size;) {
		off_t offset = part->moved;
		ssize_t count = sendfile(part->out, file->fd, &offset, file->size - part->moved);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return count < 0 ? errno : ENODATA;
		part->moved += (uint32_t)count;
	}
	return 0;
}

void silt_archive_write(struct silt_archive_part *part)
{
	part->moved = part->written = 0;
	for (part->sent = 0; part->sent < part->send_count; part->sent++) {
		const struct silt_archive_send *file = &part->sends[part->sent];

		part->error = write_up_to(part, file->at);
		if (part->error == 0)
			part->error = send_contents(part, file);
		if (part->error != 0)
			return;
		close(file->fd);
		part->moved = 0;
	}
	part->error = write_up_to(part, part->size);
}
