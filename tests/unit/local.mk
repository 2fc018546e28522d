# Unit tests: cmocka programs. Three lines each; link the layer that is tested:
#
#	unit_tests += %D%/test_buffer
#	%C%_test_buffer_SOURCES = %D%/test_buffer.c
#	%C%_test_buffer_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)
#
# One program alone: make check TESTS=tests/unit/test_buffer
# What several stand on: a temporary folder; an engine without a relay above it; rigs.
folder = %D%/folder.c %D%/folder.h
sessionless = %D%/sessionless.c %D%/sessionless.h
engine_rig = %D%/engine_rig.c %D%/engine_rig.h $(sessionless)
channel_rig = %D%/channel_rig.c %D%/channel_rig.h %D%/server_rig.c %D%/server_rig.h $(folder)
time_rig = %D%/time_rig.c %D%/time_rig.h $(sessionless)

unit_tests =

unit_tests += %D%/test_attributes
%C%_test_attributes_SOURCES = %D%/test_attributes.c
%C%_test_attributes_LDADD = $(MESSAGE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_bits
%C%_test_bits_SOURCES = %D%/test_bits.c
%C%_test_bits_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_meter
%C%_test_meter_SOURCES = %D%/test_meter.c $(engine_rig)
%C%_test_meter_LDADD = $(QUEUE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_figures
%C%_test_figures_SOURCES = %D%/test_figures.c %D%/core_rig.c %D%/core_rig.h
%C%_test_figures_LDADD = $(RELAY_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_web_metrics
%C%_test_web_metrics_SOURCES = %D%/test_web_metrics.c %D%/core_rig.c %D%/core_rig.h
%C%_test_web_metrics_LDADD = lib/web/libweb.la $(EVENT_HTTP_LIBS) $(RELAY_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_web_text
%C%_test_web_text_SOURCES = %D%/test_web_text.c
%C%_test_web_text_LDADD = lib/web/libweb.la $(BASE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_order
%C%_test_order_SOURCES = %D%/test_order.c
%C%_test_order_LDADD = $(QUEUE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_order_key
%C%_test_order_key_SOURCES = %D%/test_order_key.c $(engine_rig)
%C%_test_order_key_LDADD = $(QUEUE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_selections
%C%_test_selections_SOURCES = %D%/test_selections.c $(engine_rig)
%C%_test_selections_LDADD = $(QUEUE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_buffer
%C%_test_buffer_SOURCES = %D%/test_buffer.c
%C%_test_buffer_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_control
%C%_test_control_SOURCES = %D%/test_control.c
%C%_test_control_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_file
%C%_test_file_SOURCES = %D%/test_file.c
%C%_test_file_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)
unit_tests += %D%/test_hangup
%C%_test_hangup_SOURCES = %D%/test_hangup.c
%C%_test_hangup_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_fault
%C%_test_fault_SOURCES = %D%/test_fault.c
%C%_test_fault_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_frame
%C%_test_frame_SOURCES = %D%/test_frame.c
%C%_test_frame_LDADD = $(MESSAGE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_frame_cut
%C%_test_frame_cut_SOURCES = %D%/test_frame_cut.c
%C%_test_frame_cut_LDADD = $(MESSAGE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_letter
%C%_test_letter_SOURCES = %D%/test_letter.c
%C%_test_letter_LDADD = $(MESSAGE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_lineage
%C%_test_lineage_SOURCES = %D%/test_lineage.c
%C%_test_lineage_LDADD = $(MESSAGE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_histogram
%C%_test_histogram_SOURCES = %D%/test_histogram.c
%C%_test_histogram_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_log
%C%_test_log_SOURCES = %D%/test_log.c
%C%_test_log_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_names
%C%_test_names_SOURCES = %D%/test_names.c
%C%_test_names_LDADD = $(MESSAGE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_seen_file
%C%_test_seen_file_SOURCES = %D%/test_seen_file.c $(folder)
%C%_test_seen_file_LDADD = $(CLI_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_retry_output
%C%_test_retry_output_SOURCES = %D%/test_retry_output.c
%C%_test_retry_output_LDADD = $(CLI_LIBS) $(CMOCKA_LIBS)

pipeline_rig = %D%/pipeline_rig.c %D%/pipeline_rig.h $(folder)

unit_tests += %D%/test_pipeline_load
%C%_test_pipeline_load_SOURCES = %D%/test_pipeline_load.c $(pipeline_rig)
%C%_test_pipeline_load_LDADD = $(PIPELINE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_pipeline_mistakes
%C%_test_pipeline_mistakes_SOURCES = %D%/test_pipeline_mistakes.c $(pipeline_rig)
%C%_test_pipeline_mistakes_LDADD = $(PIPELINE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_pipeline_schema
%C%_test_pipeline_schema_SOURCES = %D%/test_pipeline_schema.c $(pipeline_rig)
%C%_test_pipeline_schema_LDADD = $(PIPELINE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_pipeline_values
%C%_test_pipeline_values_SOURCES = %D%/test_pipeline_values.c $(pipeline_rig)
%C%_test_pipeline_values_LDADD = $(PIPELINE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_seen
%C%_test_seen_SOURCES = %D%/test_seen.c
%C%_test_seen_LDADD = lib/policy/libpolicy.la $(BASE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_matcher
%C%_test_matcher_SOURCES = %D%/test_matcher.c %D%/steps_rig.c %D%/steps_rig.h
%C%_test_matcher_LDADD = $(STAGE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_steps
%C%_test_steps_SOURCES = %D%/test_steps.c %D%/steps_rig.c %D%/steps_rig.h
%C%_test_steps_LDADD = $(STAGE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_tail
%C%_test_tail_SOURCES = %D%/test_tail.c
%C%_test_tail_LDADD = $(STAGE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_flusher
%C%_test_flusher_SOURCES = %D%/test_flusher.c
%C%_test_flusher_LDADD = $(RUNNER_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_runner_commit
%C%_test_runner_commit_SOURCES = %D%/test_runner_commit.c %D%/client_actor.c %D%/client_actor.h \
	%D%/fake_relay.c %D%/fake_relay.h %D%/fake_network.c
%C%_test_runner_commit_LDADD = $(RUNNER_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_runner_feed
%C%_test_runner_feed_SOURCES = %D%/test_runner_feed.c %D%/link_rig.c %D%/link_rig.h \
	%D%/server_rig.c %D%/server_rig.h %D%/fake_relay.c %D%/fake_relay.h %D%/fake_network.c $(folder)
%C%_test_runner_feed_LDADD = $(RUNNER_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_sink_file
%C%_test_sink_file_SOURCES = %D%/test_sink_file.c %D%/sink_rig.c %D%/sink_rig.h $(folder)
%C%_test_sink_file_LDADD = $(RUNNER_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_sink_rotate
%C%_test_sink_rotate_SOURCES = %D%/test_sink_rotate.c $(folder)
%C%_test_sink_rotate_LDADD = $(RUNNER_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_sink_socket
%C%_test_sink_socket_SOURCES = %D%/test_sink_socket.c %D%/sink_rig.c %D%/sink_rig.h $(folder)
%C%_test_sink_socket_LDADD = $(RUNNER_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_source_follow
%C%_test_source_follow_SOURCES = %D%/test_source_follow.c $(folder)
%C%_test_source_follow_LDADD = $(RUNNER_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_source_memory
%C%_test_source_memory_SOURCES = %D%/test_source_memory.c $(folder)
%C%_test_source_memory_LDADD = $(RUNNER_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_source_tick
%C%_test_source_tick_SOURCES = %D%/test_source_tick.c
%C%_test_source_tick_LDADD = $(RUNNER_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_units
%C%_test_units_SOURCES = %D%/test_units.c
%C%_test_units_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_path
%C%_test_path_SOURCES = %D%/test_path.c
%C%_test_path_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_spawn
%C%_test_spawn_SOURCES = %D%/test_spawn.c $(folder)
%C%_test_spawn_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_format_json
%C%_test_format_json_SOURCES = %D%/test_format_json.c
%C%_test_format_json_LDADD = $(MESSAGE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_format_pointer
%C%_test_format_pointer_SOURCES = %D%/test_format_pointer.c
%C%_test_format_pointer_LDADD = $(MESSAGE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_format_read
%C%_test_format_read_SOURCES = %D%/test_format_read.c
%C%_test_format_read_LDADD = $(MESSAGE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_format_write
%C%_test_format_write_SOURCES = %D%/test_format_write.c
%C%_test_format_write_LDADD = $(MESSAGE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_peer
%C%_test_peer_SOURCES = %D%/test_peer.c %D%/peer_ends.c %D%/peer_ends.h $(folder)
%C%_test_peer_LDADD = $(TRANSPORT_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_peer_trouble
%C%_test_peer_trouble_SOURCES = %D%/test_peer_trouble.c %D%/peer_ends.c %D%/peer_ends.h $(folder)
%C%_test_peer_trouble_LDADD = $(TRANSPORT_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_peer_survey
%C%_test_peer_survey_SOURCES = %D%/test_peer_survey.c %D%/peer_ends.c %D%/peer_ends.h $(folder)
%C%_test_peer_survey_LDADD = $(TRANSPORT_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_peer_nng
%C%_test_peer_nng_SOURCES = %D%/test_peer_nng.c %D%/peer_ends.c %D%/peer_ends.h $(folder)
%C%_test_peer_nng_LDADD = $(TRANSPORT_LIBS) $(NNG_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_protocol
%C%_test_protocol_SOURCES = %D%/test_protocol.c %D%/protocol_ends.h
%C%_test_protocol_LDADD = $(CLIENT_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_protocol_fetch
%C%_test_protocol_fetch_SOURCES = %D%/test_protocol_fetch.c %D%/protocol_ends.h
%C%_test_protocol_fetch_LDADD = $(CLIENT_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_protocol_settle
%C%_test_protocol_settle_SOURCES = %D%/test_protocol_settle.c %D%/protocol_ends.h
%C%_test_protocol_settle_LDADD = $(CLIENT_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_client
%C%_test_client_SOURCES = %D%/test_client.c %D%/client_actor.c %D%/client_actor.h \
	%D%/fake_relay.c %D%/fake_relay.h %D%/fake_network.c
%C%_test_client_LDADD = $(CLIENT_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_client_link
%C%_test_client_link_SOURCES = %D%/test_client_link.c %D%/link_rig.c %D%/link_rig.h \
	%D%/server_rig.c %D%/server_rig.h %D%/fake_relay.c %D%/fake_relay.h %D%/fake_network.c $(folder)
%C%_test_client_link_LDADD = $(CLIENT_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_client_settle
%C%_test_client_settle_SOURCES = %D%/test_client_settle.c %D%/client_actor.c %D%/client_actor.h \
	%D%/fake_relay.c %D%/fake_relay.h %D%/fake_network.c
%C%_test_client_settle_LDADD = $(CLIENT_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_address
%C%_test_address_SOURCES = %D%/test_address.c $(folder)
%C%_test_address_LDADD = $(TRANSPORT_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_channel
%C%_test_channel_SOURCES = %D%/test_channel.c $(channel_rig)
%C%_test_channel_LDADD = $(TRANSPORT_LIBS) $(NNG_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_channel_faults
%C%_test_channel_faults_SOURCES = %D%/test_channel_faults.c $(channel_rig)
%C%_test_channel_faults_LDADD = $(TRANSPORT_LIBS) $(NNG_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_server
%C%_test_server_SOURCES = %D%/test_server.c %D%/server_rig.c %D%/server_rig.h $(folder)
%C%_test_server_LDADD = $(TRANSPORT_LIBS) $(NNG_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_server_limits
%C%_test_server_limits_SOURCES = %D%/test_server_limits.c %D%/server_rig.c %D%/server_rig.h $(folder)
%C%_test_server_limits_LDADD = $(TRANSPORT_LIBS) $(NNG_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_library
%C%_test_library_SOURCES = %D%/test_library.c %D%/fake_relay.c %D%/fake_relay.h %D%/fake_network.c
%C%_test_library_LDADD = $(CLIENT_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_alarm
%C%_test_alarm_SOURCES = %D%/test_alarm.c
%C%_test_alarm_LDADD = $(RELAY_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_notify
%C%_test_notify_SOURCES = %D%/test_notify.c $(folder)
%C%_test_notify_LDADD = $(RELAY_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_backoff
%C%_test_backoff_SOURCES = %D%/test_backoff.c
%C%_test_backoff_LDADD = lib/policy/libpolicy.la $(CMOCKA_LIBS)

unit_tests += %D%/test_engine_flow
%C%_test_engine_flow_SOURCES = %D%/test_engine_flow.c $(engine_rig)
%C%_test_engine_flow_LDADD = $(QUEUE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_engine_config
%C%_test_engine_config_SOURCES = %D%/test_engine_config.c $(engine_rig)
%C%_test_engine_config_LDADD = $(QUEUE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_engine_dead
%C%_test_engine_dead_SOURCES = %D%/test_engine_dead.c $(engine_rig)
%C%_test_engine_dead_LDADD = $(QUEUE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_engine_repair
%C%_test_engine_repair_SOURCES = %D%/test_engine_repair.c $(engine_rig)
%C%_test_engine_repair_LDADD = $(QUEUE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_engine_suspects
%C%_test_engine_suspects_SOURCES = %D%/test_engine_suspects.c $(engine_rig)
%C%_test_engine_suspects_LDADD = $(QUEUE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_engine_settle
%C%_test_engine_settle_SOURCES = %D%/test_engine_settle.c $(engine_rig)
%C%_test_engine_settle_LDADD = $(QUEUE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_trace_keep
%C%_test_trace_keep_SOURCES = %D%/test_trace_keep.c $(engine_rig)
%C%_test_trace_keep_LDADD = $(QUEUE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_settings
%C%_test_settings_SOURCES = %D%/test_settings.c
%C%_test_settings_LDADD = $(QUEUE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_map
%C%_test_map_SOURCES = %D%/test_map.c
%C%_test_map_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_dedupe
%C%_test_dedupe_SOURCES = %D%/test_dedupe.c
%C%_test_dedupe_LDADD = $(QUEUE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_schedule
%C%_test_schedule_SOURCES = %D%/test_schedule.c $(time_rig)
%C%_test_schedule_LDADD = $(QUEUE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_duplicates
%C%_test_duplicates_SOURCES = %D%/test_duplicates.c $(time_rig)
%C%_test_duplicates_LDADD = $(QUEUE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_trace_tail
%C%_test_trace_tail_SOURCES = %D%/test_trace_tail.c $(time_rig)
%C%_test_trace_tail_LDADD = $(TRACE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_trace_events
%C%_test_trace_events_SOURCES = %D%/test_trace_events.c $(time_rig)
%C%_test_trace_events_LDADD = $(QUEUE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_trace_spans
%C%_test_trace_spans_SOURCES = %D%/test_trace_spans.c $(time_rig) %D%/trace_rig.c %D%/trace_rig.h
%C%_test_trace_spans_LDADD = $(TRACE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_trace_pair
%C%_test_trace_pair_SOURCES = %D%/test_trace_pair.c $(time_rig)
%C%_test_trace_pair_LDADD = $(TRACE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_trace_find
%C%_test_trace_find_SOURCES = %D%/test_trace_find.c $(time_rig) %D%/trace_rig.c %D%/trace_rig.h
%C%_test_trace_find_LDADD = $(TRACE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_trace_history
%C%_test_trace_history_SOURCES = %D%/test_trace_history.c %D%/time_rig.h
%C%_test_trace_history_LDADD = $(TRACE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_audit_live
%C%_test_audit_live_SOURCES = %D%/test_audit_live.c $(folder) $(time_rig)
%C%_test_audit_live_LDADD = $(TRACE_LIBS) $(CMOCKA_LIBS)
unit_tests += %D%/test_trace_log
%C%_test_trace_log_SOURCES = %D%/test_trace_log.c $(time_rig) %D%/trace_rig.c %D%/trace_rig.h
%C%_test_trace_log_LDADD = $(TRACE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_time_model
%C%_test_time_model_SOURCES = %D%/test_time_model.c $(time_rig)
%C%_test_time_model_LDADD = $(QUEUE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_expire
%C%_test_expire_SOURCES = %D%/test_expire.c $(time_rig)
%C%_test_expire_LDADD = $(QUEUE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_relay_time
%C%_test_relay_time_SOURCES = %D%/test_relay_time.c $(sessionless)
%C%_test_relay_time_LDADD = $(QUEUE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_spool
%C%_test_spool_SOURCES = %D%/test_spool.c $(folder)
%C%_test_spool_LDADD = $(CLI_LAYER) $(STORE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_states
%C%_test_states_SOURCES = %D%/test_states.c
%C%_test_states_LDADD = $(QUEUE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_core_limits
%C%_test_core_limits_SOURCES = %D%/test_core_limits.c
%C%_test_core_limits_LDADD = $(RELAY_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_remove
%C%_test_remove_SOURCES = %D%/test_remove.c %D%/core_rig.c %D%/core_rig.h
%C%_test_remove_LDADD = $(RELAY_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_retain
%C%_test_retain_SOURCES = %D%/test_retain.c %D%/core_rig.c %D%/core_rig.h
%C%_test_retain_LDADD = $(RELAY_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_options
%C%_test_options_SOURCES = %D%/test_options.c
%C%_test_options_LDADD = $(CLI_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_pace
%C%_test_pace_SOURCES = %D%/test_pace.c
%C%_test_pace_LDADD = $(CLI_LIBS) $(CMOCKA_LIBS)

# statfs(2) can be replaced only where it is called by that name.
if LINUX
unit_tests += %D%/test_store_place
%C%_test_store_place_SOURCES = %D%/test_store_place.c $(folder)
%C%_test_store_place_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=statfs
%C%_test_store_place_LDADD = $(STORE_LIBS) $(CMOCKA_LIBS)
endif

unit_tests += %D%/test_store
%C%_test_store_SOURCES = %D%/test_store.c %D%/store_rig.c %D%/store_rig.h $(folder)
%C%_test_store_LDADD = $(STORE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_breaker
%C%_test_breaker_SOURCES = %D%/test_breaker.c
%C%_test_breaker_LDADD = $(POLICY_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_rate
%C%_test_rate_SOURCES = %D%/test_rate.c
%C%_test_rate_LDADD = lib/policy/libpolicy.la $(CMOCKA_LIBS)

unit_tests += %D%/test_cron
%C%_test_cron_SOURCES = %D%/test_cron.c
%C%_test_cron_LDADD = lib/policy/libpolicy.la $(BASE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_window
%C%_test_window_SOURCES = %D%/test_window.c
%C%_test_window_LDADD = lib/policy/libpolicy.la $(BASE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_steps_split
%C%_test_steps_split_SOURCES = %D%/test_steps_split.c %D%/steps_rig.c %D%/steps_rig.h
%C%_test_steps_split_LDADD = $(STAGE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_steps_aggregate
%C%_test_steps_aggregate_SOURCES = %D%/test_steps_aggregate.c %D%/steps_rig.c %D%/steps_rig.h
%C%_test_steps_aggregate_LDADD = $(STAGE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_store_backup
%C%_test_store_backup_SOURCES = %D%/test_store_backup.c %D%/store_rig.c %D%/store_rig.h $(folder)
%C%_test_store_backup_LDADD = $(STORE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_store_wal
%C%_test_store_wal_SOURCES = %D%/test_store_wal.c %D%/store_rig.c %D%/store_rig.h $(folder)
%C%_test_store_wal_LDADD = $(STORE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_salvage
%C%_test_salvage_SOURCES = %D%/test_salvage.c %D%/store_rig.c %D%/store_rig.h $(folder)
%C%_test_salvage_LDADD = $(STORE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_store_delete
%C%_test_store_delete_SOURCES = %D%/test_store_delete.c %D%/store_rig.c %D%/store_rig.h $(folder)
%C%_test_store_delete_LDADD = $(STORE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_store_hold
%C%_test_store_hold_SOURCES = %D%/test_store_hold.c %D%/store_rig.c %D%/store_rig.h $(folder)
%C%_test_store_hold_LDADD = $(STORE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_store_schedule
%C%_test_store_schedule_SOURCES = %D%/test_store_schedule.c %D%/store_rig.c %D%/store_rig.h $(folder)
%C%_test_store_schedule_LDADD = $(STORE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_store_version
%C%_test_store_version_SOURCES = %D%/test_store_version.c %D%/store_rig.c %D%/store_rig.h $(folder)
%C%_test_store_version_LDADD = $(STORE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_core_select
%C%_test_core_select_SOURCES = %D%/test_core_select.c %D%/core_rig.c %D%/core_rig.h
%C%_test_core_select_LDADD = $(RELAY_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_core_publish
%C%_test_core_publish_SOURCES = %D%/test_core_publish.c %D%/core_rig.c %D%/core_rig.h
%C%_test_core_publish_LDADD = $(RELAY_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_core
%C%_test_core_SOURCES = %D%/test_core.c %D%/core_rig.c %D%/core_rig.h
%C%_test_core_LDADD = $(RELAY_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_core_time
%C%_test_core_time_SOURCES = %D%/test_core_time.c %D%/core_rig.c %D%/core_rig.h
%C%_test_core_time_LDADD = $(RELAY_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_core_pipeline
%C%_test_core_pipeline_SOURCES = %D%/test_core_pipeline.c %D%/core_rig.c %D%/core_rig.h
%C%_test_core_pipeline_LDADD = $(RELAY_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_command
%C%_test_command_SOURCES = %D%/test_command.c
%C%_test_command_LDADD = $(STAGE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_work
%C%_test_work_SOURCES = %D%/test_work.c %D%/work_rig.c %D%/work_rig.h $(folder)
%C%_test_work_LDADD = $(STAGE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_work_stream
%C%_test_work_stream_SOURCES = %D%/test_work_stream.c %D%/work_rig.c %D%/work_rig.h $(folder)
%C%_test_work_stream_LDADD = $(STAGE_LIBS) $(CMOCKA_LIBS)

unit_tests += %D%/test_runner_outputs
%C%_test_runner_outputs_SOURCES = %D%/test_runner_outputs.c
%C%_test_runner_outputs_LDADD = $(RUNNER_LIBS) $(CMOCKA_LIBS)

if HAVE_CMOCKA
check_PROGRAMS += $(unit_tests)
TESTS += $(unit_tests)
else
EXTRA_PROGRAMS += $(unit_tests)
endif
