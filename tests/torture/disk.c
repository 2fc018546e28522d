#include "disk.h"

#include <stdlib.h>
#include <string.h>

static volatile bool product; /* malloc() reads it, which compilers do not expect */

bool product_runs(void)
{
    return product;
}

bool product_enter(bool inside)
{
    bool before = product;
    product = inside;
    return before;
}

/* These programs try what a relay does, not what they do themselves without memory. */
static void *grow(void *memory, size_t size)
{
    bool before = product_enter(false);
    void *grown = realloc(memory, size > 0 ? size : 1);
    product_enter(before);
    if (!grown)
        abort();
    return grown;
}

void disk_begin(struct disk *disk)
{
    memset(disk, 0, sizeof *disk);
    for (unsigned i = 0; i < DISK_NAMES; i++)
        disk->names[i] = DISK_NONE;
}

static void forget_shared(struct disk *disk)
{
    for (int i = 0; i < disk->shared_count; i++)
        free(disk->shared[i]);
    disk->shared_count = disk->shared_users = 0;
}

void disk_clear(struct disk *disk)
{
    for (size_t i = 0; i < disk->steps_count; i++)
        free(disk->steps[i].data);
    for (int i = 0; i < disk->inodes_count; i++)
        disk->inodes[i].size = 0;
    for (unsigned i = 0; i < DISK_NAMES; i++)
        disk->names[i] = DISK_NONE;
    disk->steps_count = 0;
    disk->inodes_count = 0;
    disk->recording = false;
    disk->refusal = (struct disk_refusal){0};
    disk->plants = DISK_PLANT_NONE;
    disk->kill_in = 0;
    disk->kill_at_flush = false;
    disk->killed = false;
    disk->life++;
    forget_shared(disk);
}

void disk_free(struct disk *disk)
{
    disk_clear(disk);
    for (int i = 0; i < DISK_INODES; i++)
        free(disk->inodes[i].data);
    free(disk->steps);
    free(disk->shared);
    disk_begin(disk);
}

void disk_restart(struct disk *disk)
{
    disk->life++;
    disk->killed = false;
    disk->kill_in = 0;
    disk->kill_at_flush = false;
    forget_shared(disk);
}

/* ---- steps ------------------------------------------------------------------------------------------------------ */

static void note(struct disk *disk, const struct disk_step *step)
{
    if (disk->kill_in > 0 && --disk->kill_in == 0)
        disk->killed = true;
    if (!disk->recording)
        return;
    if (disk->steps_count == disk->steps_capacity) {
        disk->steps_capacity = disk->steps_capacity ? disk->steps_capacity * 2 : 1024;
        disk->steps = grow(disk->steps, disk->steps_capacity * sizeof *disk->steps);
    }
    disk->steps[disk->steps_count++] = *step;
}

static void inode_resize(struct disk_inode *inode, size_t size)
{
    if (size > inode->capacity) {
        inode->capacity = size + size / 2;
        inode->data = grow(inode->data, inode->capacity);
    }
    if (size > inode->size)
        memset(inode->data + inode->size, 0, size - inode->size);
    inode->size = size;
}

int disk_create(struct disk *disk, enum disk_name name)
{
    if (disk->inodes_count == DISK_INODES)
        abort(); /* a life has so few files that this is a mistake of the trial */
    int inode = disk->inodes_count++;
    disk->inodes[inode].size = 0;
    disk->names[name] = inode;
    note(disk, &(struct disk_step){.kind = DISK_CREATE, .name = name, .inode = inode, .folder = disk->folders[name]});
    return inode;
}

void disk_write(struct disk *disk, int inode, size_t at, const void *data, size_t size)
{
    struct disk_inode *file = &disk->inodes[inode];
    if (size == 0)
        return;
    if (at + size > file->size)
        inode_resize(file, at + size);
    memcpy(file->data + at, data, size);
    struct disk_step step = {.kind = DISK_WRITE, .inode = inode, .at = at, .size = size};
    if (disk->recording) {
        step.data = grow(NULL, size);
        memcpy(step.data, data, size);
    }
    note(disk, &step);
}

void disk_truncate(struct disk *disk, int inode, size_t size)
{
    inode_resize(&disk->inodes[inode], size);
    note(disk, &(struct disk_step){.kind = DISK_TRUNCATE, .inode = inode, .size = size});
}

void disk_flush(struct disk *disk, int inode, enum disk_name name, bool failed)
{
    unsigned plant = name == DISK_DATABASE ? DISK_PLANT_FLUSH_DATABASE : DISK_PLANT_FLUSH_LOG;
    if (!failed && disk->plants & plant)
        return;
    note(disk, &(struct disk_step){.kind = failed ? DISK_FLUSH_FAILED : DISK_FLUSH, .inode = inode});
}

void disk_flush_names(struct disk *disk, unsigned folder)
{
    if (!(disk->plants & DISK_PLANT_FLUSH_NAMES))
        note(disk, &(struct disk_step){.kind = DISK_FLUSH_NAMES, .inode = DISK_NONE, .folder = folder});
}

void disk_unlink(struct disk *disk, enum disk_name name)
{
    disk->names[name] = DISK_NONE;
    note(disk,
         &(struct disk_step){.kind = DISK_UNLINK, .name = name, .inode = DISK_NONE, .folder = disk->folders[name]});
}

void disk_rename(struct disk *disk, enum disk_name from, enum disk_name to)
{
    int inode = disk->names[from];
    disk->names[to] = inode;
    disk->names[from] = DISK_NONE;
    note(disk, &(struct disk_step){
                   .kind = DISK_RENAME, .name = to, .from = from, .inode = inode, .folder = disk->folders[to]});
}

void disk_copy(struct disk *to, const struct disk *from)
{
    disk_clear(to);
    for (unsigned i = 0; i < DISK_NAMES; i++)
        if (from->names[i] != DISK_NONE) {
            const struct disk_inode *inode = &from->inodes[from->names[i]];
            disk_write(to, disk_create(to, (enum disk_name)i), 0, inode->data, inode->size);
        }
}
