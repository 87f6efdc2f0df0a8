using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace SafePool.TestKit;

/// <summary>Talks to PgBouncer's admin console, which understands simple queries only; Npgsql sends none.</summary>
internal static class PgBouncerConsole
{
    private const int ProtocolVersion = 3 << 16;

    public static async Task<IReadOnlyList<string?[]>> RunAsync(int port, string command, CancellationToken cancellationToken)
    {
        using var socket = new TcpClient();
        await socket.ConnectAsync(IPAddress.Loopback, port, cancellationToken);
        var stream = socket.GetStream();
        await stream.WriteAsync(Message(null, Number(ProtocolVersion), "user\0postgres\0database\0pgbouncer\0\0"), cancellationToken);
        await ReadAsync(stream, cancellationToken);
        await stream.WriteAsync(Message('Q', [], command + '\0'), cancellationToken);
        return await ReadAsync(stream, cancellationToken);
    }

    /// <summary>Reads until the console is ready for the next command.</summary>
    private static async Task<IReadOnlyList<string?[]>> ReadAsync(NetworkStream stream, CancellationToken cancellationToken)
    {
        var rows = new List<string?[]>();
        string? refusal = null;
        while (true)
        {
            var head = new byte[5];
            await stream.ReadExactlyAsync(head, cancellationToken);
            var body = new byte[BinaryPrimitives.ReadInt32BigEndian(head.AsSpan(1)) - 4];
            await stream.ReadExactlyAsync(body, cancellationToken);
            switch ((char)head[0])
            {
                case 'D':
                    rows.Add(Row(body));
                    break;
                case 'E':
                    refusal = Encoding.UTF8.GetString(body).Split('\0').First(field => field.StartsWith('M'))[1..];
                    if (Encoding.UTF8.GetString(body).Contains("FATAL", StringComparison.Ordinal))
                    {
                        throw new InvalidOperationException(refusal);
                    }

                    break;
                case 'Z':
                    return refusal is null ? rows : throw new InvalidOperationException(refusal);
            }
        }
    }

    private static string?[] Row(ReadOnlySpan<byte> body)
    {
        var row = new string?[BinaryPrimitives.ReadInt16BigEndian(body)];
        body = body[2..];
        for (var column = 0; column < row.Length; column++)
        {
            var length = BinaryPrimitives.ReadInt32BigEndian(body);
            body = body[4..];
            if (length >= 0)
            {
                row[column] = Encoding.UTF8.GetString(body[..length]);
                body = body[length..];
            }
        }

        return row;
    }

    private static byte[] Message(char? type, byte[] prefix, string text)
    {
        var body = Encoding.UTF8.GetBytes(text);
        byte[] head = type is { } letter ? [(byte)letter] : [];
        return [.. head, .. Number(4 + prefix.Length + body.Length), .. prefix, .. body];
    }

    private static byte[] Number(int value)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(bytes, value);
        return bytes;
    }
}
