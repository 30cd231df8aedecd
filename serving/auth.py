"""``python -m serving.auth`` makes an API key; the room is `serving.door.auth`."""

from serving.door.auth import main

if __name__ == "__main__":
    main()
