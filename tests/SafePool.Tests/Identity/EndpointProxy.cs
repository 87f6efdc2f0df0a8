using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Npgsql;

namespace SafePool.Tests.Identity;

/// <summary>A proxy that finds the database by what clients say in their start-up <c>options</c>, and keeps that to itself, as Neon's does.</summary>
internal sealed class EndpointProxy : IAsyncDisposable
{
    public const string Option = "endpoint=ep-quiet-field";

    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _ended = new();
    private readonly int _server;
    private readonly Task _accepting;
    private int _refused;

    public EndpointProxy(string server)
    {
        _server = new NpgsqlConnectionStringBuilder(server).Port;
        _listener.Start();
        _accepting = AcceptAsync();
    }

    /// <summary>How many came without the option.</summary>
    public int Refused => Volatile.Read(ref _refused);

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    public async ValueTask DisposeAsync()
    {
        await _ended.CancelAsync();
        _listener.Stop();
        await _accepting;
        _ended.Dispose();
    }

    private async Task AcceptAsync()
    {
        var passing = new List<Task>();
        try
        {
            while (true)
            {
                passing.Add(PassAsync(await _listener.AcceptTcpClientAsync(_ended.Token)));
            }
        }
        catch (Exception end) when (end is OperationCanceledException or SocketException)
        {
            await Task.WhenAll(passing);
        }
    }

    /// <summary>Never fails.</summary>
    private async Task PassAsync(TcpClient client)
    {
        using var server = new TcpClient { NoDelay = true };
        using (client)
        {
            try
            {
                var (code, body) = await ReadStartupAsync(client.GetStream());
                if (code == 3 << 16 && !body.Contains(Option, StringComparison.Ordinal))
                {
                    Interlocked.Increment(ref _refused);
                    await client.GetStream().WriteAsync(Error("Endpoint ID is not specified."), _ended.Token);
                    return;
                }

                await server.ConnectAsync(IPAddress.Loopback, _server, _ended.Token);
                await server.GetStream().WriteAsync(Startup(code, body.Replace(Option, "", StringComparison.Ordinal)), _ended.Token);
                await Task.WhenAny(PumpAsync(client, server), PumpAsync(server, client));
            }
            catch (Exception end) when (end is OperationCanceledException or IOException or SocketException)
            {
                // One end closed.
            }
        }
    }

    private async Task<(int Code, string Body)> ReadStartupAsync(NetworkStream stream)
    {
        var head = new byte[8];
        await stream.ReadExactlyAsync(head, _ended.Token);
        var body = new byte[BinaryPrimitives.ReadInt32BigEndian(head) - head.Length];
        await stream.ReadExactlyAsync(body, _ended.Token);
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

    private async Task PumpAsync(TcpClient from, TcpClient to)
    {
        try
        {
            await from.GetStream().CopyToAsync(to.GetStream(), _ended.Token);
        }
        catch (Exception end) when (end is OperationCanceledException or IOException or ObjectDisposedException or InvalidOperationException)
        {
            // One end closed: both are.
        }
    }
}
