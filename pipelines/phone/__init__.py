"""Phone side of a call: Twilio's messages, audio in and out, playback.

the line      phone_line: twilio_serializer
in            transport_input: caller_speech · packet_stamp
out           transport_output: phone_voice · playback (what was heard of each reply)
"""
