"""Gemini's side of a call: Live sessions, audio sockets, tools and greetings.

the step      gemini_live: frames in, frames out
replies       reply_state · reply_output · greeting, greeting_cache · prepared_sentences, filler
silence       no_answer_watchdog: answer_patience · turn_sound
the session   session: connector, close_rules · second_connection · departing_connection
              continuity: which connection serves
sending       uplink: unkept_audio · send_queue · leg · client_message
telling       call_so_far · handover · supervisor_hints · model_setup, live_config
tools         tools, tool_schema · tool_calls, tool_ledger, tool_task
the wire      client · audio_socket, fast_websocket, websocket_frames · messages, server_message
"""
