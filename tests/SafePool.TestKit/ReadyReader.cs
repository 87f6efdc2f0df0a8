using System.Buffers.Binary;

namespace SafePool.TestKit;

/// <summary>Follows a server's messages up to the first ReadyForQuery.</summary>
internal sealed class ReadyReader
{
    private const byte ReadyForQuery = (byte)'Z';

    private readonly byte[] _head = new byte[5];
    private int _filled;
    private int _toSkip;
    private int _answered;

    /// <summary>Gets whether the server has said that it is ready, or speaks in a way that cannot be followed.</summary>
    public bool IsReady { get; private set; }

    /// <summary>Looks at bytes on their way; may be called with pieces of any size.</summary>
    /// <param name="bytes">What the server sent.</param>
    /// <param name="encryptionRequests">How often the client has asked for encryption so far.</param>
    public void Read(ReadOnlySpan<byte> bytes, int encryptionRequests)
    {
        for (var at = 0; at < bytes.Length && !IsReady; at++)
        {
            if (_answered < encryptionRequests)
            {
                _answered++;
                IsReady = bytes[at] != (byte)'N';
            }
            else if (_toSkip > 0)
            {
                _toSkip--;
            }
            else
            {
                ReadHead(bytes[at]);
            }
        }
    }

    private void ReadHead(byte next)
    {
        _head[_filled++] = next;
        IsReady = _head[0] == ReadyForQuery;
        if (_filled == _head.Length)
        {
            // The length counts itself but not the type.
            _toSkip = BinaryPrimitives.ReadInt32BigEndian(_head.AsSpan(1)) - sizeof(int);
            _filled = 0;
        }
    }
}
