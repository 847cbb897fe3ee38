"""WhatsApp is spoken through Meta's Cloud API.

``signature`` proves that a delivery is Meta's, ``inbound`` reads it, ``outbound`` renders what we send,
``client`` sends it, ``errors`` says what Meta's error codes mean for a dispatcher.
"""
