using System.Buffers.Binary;
using System.Text;
using SafePool.TestKit;

namespace SafePool.Tests.Identity;

/// <summary>A proxy that finds the database by what clients say in their start-up <c>options</c>, and keeps that to itself, as Neon's does.</summary>
internal sealed class EndpointProxy(int server) : SwitchedForwarder(server)
{
    public const string Option = "endpoint=ep-quiet-field";

    private int _refused;

    /// <summary>How many came without the option.</summary>
    public int Refused => Volatile.Read(ref _refused);

    protected override async Task<bool> TryBeginAsync(Stream client, Stream server, CancellationToken cancellationToken)
    {
        var (code, body) = await ReadStartupAsync(client, cancellationToken);
        if (code == 3 << 16 && !body.Contains(Option, StringComparison.Ordinal))
        {
            Interlocked.Increment(ref _refused);
            await client.WriteAsync(Error("Endpoint ID is not specified."), cancellationToken);
            return false;
        }

        await server.WriteAsync(Startup(code, body.Replace(Option, "", StringComparison.Ordinal)), cancellationToken);
        return true;
    }

    private static async Task<(int Code, string Body)> ReadStartupAsync(Stream stream, CancellationToken cancellationToken)
    {
        var head = new byte[8];
        await stream.ReadExactlyAsync(head, cancellationToken);
        var body = new byte[BinaryPrimitives.ReadInt32BigEndian(head) - head.Length];
        await stream.ReadExactlyAsync(body, cancellationToken);
        return (BinaryPrimitives.ReadInt32BigEndian(head.AsSpan(4)), Encoding.Latin1.GetString(body));
    }

    private static byte[] Startup(int code, string body)
    {
        var packet = new byte[8 + body.Length];
        BinaryPrimitives.WriteInt32BigEndian(packet, packet.Length);
        BinaryPrimitives.WriteInt32BigEndian(packet.AsSpan(4), code);
        Encoding.Latin1.GetBytes(body, packet.AsSpan(8));
        return packet;
    }

    private static byte[] Error(string message)
    {
        var fields = Encoding.UTF8.GetBytes($"SFATAL\0VFATAL\0C08P01\0M{message}\0\0");
        byte[] packet = [(byte)'E', 0, 0, 0, 0, .. fields];
        BinaryPrimitives.WriteInt32BigEndian(packet.AsSpan(1), packet.Length - 1);
        return packet;
    }
}
