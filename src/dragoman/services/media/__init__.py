"""The files of messages: fetched from the channel, erased when their time has come."""
