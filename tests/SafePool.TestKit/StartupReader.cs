using System.Buffers.Binary;
using System.Text;

namespace SafePool.TestKit;

/// <summary>Reads the first packets of a client: requests for encryption, then either a startup or a cancel request.</summary>
internal sealed class StartupReader
{
    private const int CancelRequest = 80877102;
    private const int SslRequest = 80877103;
    private const int GssEncryptionRequest = 80877104;

    private readonly byte[] _head = new byte[8];
    private int _filled;

    /// <summary>Gets what the packets so far make of the connection.</summary>
    public StartupKind Kind { get; private set; }

    /// <summary>Gets how many requests for encryption came, each of which the server answers with a bare byte.</summary>
    public int EncryptionRequests { get; private set; }

    /// <summary>Looks at bytes on their way; may be called with pieces of any size.</summary>
    public void Read(ReadOnlySpan<byte> bytes)
    {
        foreach (var next in bytes)
        {
            if (Kind is StartupKind.Startup or StartupKind.CancelRequest)
            {
                return;
            }

            _head[_filled++] = next;
            if (_filled == _head.Length)
            {
                Decide(BinaryPrimitives.ReadInt32BigEndian(_head.AsSpan(4)));
            }
        }
    }

    /// <summary>The application that a startup packet names, if it came in one piece; otherwise nothing.</summary>
    public static string ApplicationIn(ReadOnlySpan<byte> packet)
    {
        var at = packet.IndexOf("application_name\0"u8);
        var name = at < 0 ? [] : packet[(at + "application_name\0"u8.Length)..];
        return Encoding.UTF8.GetString(name.IndexOf((byte)0) is var end and >= 0 ? name[..end] : []);
    }

    private void Decide(int code)
    {
        // A request for encryption is these eight bytes and nothing else; the next packet starts afresh.
        _filled = 0;
        EncryptionRequests += code is SslRequest or GssEncryptionRequest ? 1 : 0;
        Kind = code switch
        {
            CancelRequest => StartupKind.CancelRequest,
            SslRequest or GssEncryptionRequest => StartupKind.Encryption,
            _ => StartupKind.Startup,
        };
    }
}
