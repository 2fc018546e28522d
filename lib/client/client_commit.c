#include "client/private.h"

/*
 * One request with a number of the settle lane. While it is under way nothing else may have that number, also after the
 * relay refused it as `full`: a late copy of it could still be applied.
 */

bool client_can_commit(const struct client *client)
{
    return client_is_welcome(client) && !client->settlements.commit.active && !client->control.leaving;
}

/* ---- making the request ------------------------------------------------------------------- */

static enum mp_error put_settlements(struct client *client, const struct protocol_settlement *settlements,
                                     uint32_t count, uint16_t outputs)
{
    struct client_commit *commit = &client->settlements.commit;
    enum mp_error error = protocol_put_settle(&commit->request, settlements, count, outputs);
    commit->total = 0;
    for (uint32_t i = 0; error == MP_OK && i < count; i++) {
        uint8_t *item = commit->request.data + PROTOCOL_SETTLE_HEAD + (size_t)i * PROTOCOL_SETTLEMENT_SIZE;
        store_u64(item + 4, settlements[i].lease - client->fetch.lease_base);
        commit->total += settlements[i].count;
    }
    return error;
}

static enum mp_error put_output(struct client *client, const struct client_output *output)
{
    const struct client_publication *to = &output->publication;
    if (!to->fixed) {
        client_adopt_frame(client, output->frame);
    }
    struct protocol_publication publication = protocol_publication(to->topic);
    publication.target = to->target != NULL ? to->target : "";
    publication.target_size = strlen(publication.target);
    publication.when = to->when;
    publication.value = to->value;
    publication.frame = output->frame->bytes.data;
    publication.frame_size = output->frame->bytes.size;
    return protocol_put_settle_publish(&client->settlements.commit.request, &publication);
}

static enum mp_error check(const struct client *client, const struct protocol_settlement *settlements, uint32_t count,
                           const struct client_output *outputs, uint32_t outputs_count, struct fault *fault)
{
    if (client->broken || client->control.leaving) {
        return fault_set(fault, MP_ERR_CLOSED, "the client has left the relay");
    }
    if (!client_can_commit(client)) {
        return fault_set(fault, MP_ERR_BUSY, "another settlement that publishes is under way");
    }
    if (outputs_count > UINT16_MAX) {
        return fault_set(fault, MP_ERR_TOO_LARGE, "%u publications in one settlement", (unsigned)outputs_count);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (settlements[i].lease <= client->fetch.lease_base) {
            return fault_set(fault, MP_ERR_STALE, "the lease ended with the session that it was of");
        }
    }
    for (uint32_t i = 0; i < outputs_count; i++) {
        if (outputs[i].frame->count == 0) {
            return fault_set(fault, MP_ERR_INVALID, "the frame is empty");
        }
    }
    return MP_OK;
}

enum mp_error client_settle_publish(struct client *client, const struct protocol_settlement *settlements,
                                    uint32_t count, const struct client_output *outputs, uint32_t outputs_count,
                                    struct fault *fault)
{
    struct client_commit *commit = &client->settlements.commit;
    enum mp_error error = check(client, settlements, count, outputs, outputs_count, fault);
    if (error != MP_OK) {
        return error;
    }
    uint64_t sequence = client->publication.sequence;
    commit->request.size = 0;
    error = put_settlements(client, settlements, count, (uint16_t)outputs_count);
    for (uint32_t i = 0; error == MP_OK && i < outputs_count; i++) {
        error = put_output(client, &outputs[i]);
    }
    if (error == MP_OK) {
        error = protocol_put_settle_notes(&commit->request, settlements, count);
    }
    if (error != MP_OK) {
        client->publication.sequence = sequence;
        return fault_set(fault, error, "%s", mp_error_text(error));
    }
    commit->active = true;
    commit->under_way = false;
    commit->since = -1;
    return MP_OK;
}

/* ---- its life ----------------------------------------------------------------------------- */

static void tell_full(struct client *client, bool full, const char *text)
{
    struct client_commit *commit = &client->settlements.commit;
    if (commit->full != full && client->settings.full != NULL) {
        client->settings.full(client->settings.context, full, text);
    }
    commit->full = full;
}

static void finish(struct client *client, enum mp_error error, const char *text)
{
    struct client_commit *commit = &client->settlements.commit;
    enum { ROOM_KEPT = 4 * FRAME_TARGET };
    commit->active = commit->under_way = false;
    commit->yield = true;
    if (commit->request.capacity > ROOM_KEPT) {
        buffer_free(&commit->request);
    }
    tell_full(client, false, "");
    client->settings.committed(client->settings.context, error, text);
}

void client_commit_drop(struct client *client, enum mp_error error)
{
    struct client_commit *commit = &client->settlements.commit;
    if (commit->active && !commit->under_way) {
        finish(client, error, mp_error_text(error));
    }
}

bool client_commit_pump(struct client *client)
{
    struct client_settlements *settlements = &client->settlements;
    struct client_commit *commit = &settlements->commit;
    bool others = settlements->request.size > 0 || (commit->yield && settlements->waiting_count > 0);
    if (!commit->active || (!commit->under_way && others)) {
        return false;
    }
    struct fault fault;
    commit->under_way = true;
    if (client_send(client, CHANNEL_SETTLE, PROTOCOL_SETTLE, PROTOCOL_ATOMIC, settlements->number, &commit->request,
                    NULL, &fault) != MP_OK) {
        client_pause(client, CHANNEL_SETTLE);
    }
    return true;
}

void client_commit_lost(struct client *client)
{
    const struct client_commit *commit = &client->settlements.commit;
    bool doubt = commit->since >= 0 && client->now - commit->since > CLIENT_DOUBT;
    enum mp_error error = doubt ? MP_ERR_SESSION : MP_ERR_STALE;
    finish(client, error, mp_error_text(error));
}

void client_commit_answered(struct client *client, const struct protocol_reply *reply, const struct fault *fault)
{
    const struct client_commit *commit = &client->settlements.commit;
    if (reply->status == MP_OK) {
        if (client->lanes[CHANNEL_SETTLE].session == client->welcome.session) {
            client_release(client, commit->total);
        }
        finish(client, MP_OK, "");
    } else if (client_is_passing(reply->status)) {
        client_pause(client, CHANNEL_SETTLE);
    } else if (reply->status == MP_ERR_FULL && !client->control.leaving) {
        client_pause(client, CHANNEL_SETTLE);
        tell_full(client, true, fault_text(fault));
    } else {
        finish(client, reply->status, fault_text(fault));
    }
}
