using System.Buffers.Binary;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace SafePool.TestKit;

/// <summary>One client of a <see cref="FakeServer"/>, as its script sees it.</summary>
public sealed class FakeSession(Socket socket, CancellationToken over) : IDisposable
{
    private Stream _stream = new NetworkStream(socket, ownsSocket: true);

    /// <summary>Gets the first packet that came, its length included; empty before.</summary>
    public byte[] Startup { get; private set; } = [];

    /// <summary>Reads the next packet without a type: a request for encryption, or the startup.</summary>
    public async Task ReadStartupAsync()
    {
        var head = new byte[4];
        await _stream.ReadExactlyAsync(head, over);
        var rest = new byte[BinaryPrimitives.ReadInt32BigEndian(head) - 4];
        await _stream.ReadExactlyAsync(rest, over);
        Startup = [.. head, .. rest];
    }

    public async Task SendAsync(params byte[] bytes) => await _stream.WriteAsync(bytes, over);

    /// <summary>Sends one message of the protocol.</summary>
    public Task SendMessageAsync(char type, params byte[] body)
    {
        var message = new byte[body.Length + 5];
        message[0] = (byte)type;
        BinaryPrimitives.WriteInt32BigEndian(message.AsSpan(1), body.Length + 4);
        body.CopyTo(message, 5);
        return SendAsync(message);
    }

    /// <summary>Reads the startup and refuses with an ErrorResponse, as servers and poolers do.</summary>
    public async Task RefuseAsync(string sqlState, string text)
    {
        if (Startup.Length == 0)
        {
            await ReadStartupAsync();
        }

        await SendMessageAsync('E', [.. Encoding.UTF8.GetBytes($"SFATAL\0VFATAL\0C{sqlState}\0M{text}\0"), 0]);
    }

    /// <summary>Reads what the client says first in TLS, and answers with a fatal alert.</summary>
    public async Task AlertAsync(byte description)
    {
        var record = new byte[5];
        await _stream.ReadExactlyAsync(record, over);
        await _stream.ReadExactlyAsync(new byte[BinaryPrimitives.ReadUInt16BigEndian(record.AsSpan(3))], over);
        await SendAsync(0x15, 3, 3, 0, 2, 2, description);
        await SilenceAsync();
    }

    /// <summary>Says nothing for as long as the client stays.</summary>
    public async Task SilenceAsync()
    {
        var buffer = new byte[1024];
        while (await _stream.ReadAsync(buffer, over) > 0)
        {
        }
    }

    /// <summary>Breaks the connection: RST.</summary>
    public void Reset()
    {
        socket.LingerState = new LingerOption(true, 0);
        Dispose();
    }

    /// <summary>Encrypts from here on, with this certificate.</summary>
    public async Task EncryptAsync(X509Certificate2 certificate)
    {
        var encrypted = new SslStream(_stream);
        _stream = encrypted;
        await encrypted.AuthenticateAsServerAsync(
            new SslServerAuthenticationOptions { ServerCertificate = certificate, ApplicationProtocols = [new SslApplicationProtocol("postgresql")] }, over);
    }

    /// <summary>Leads the client to a real server from here on, until one of them leaves.</summary>
    public async Task PassAsync(int port)
    {
        using var server = new TcpClient { NoDelay = true };
        await server.ConnectAsync(IPAddress.Loopback, port, over);
        var stream = server.GetStream();
        await stream.WriteAsync(Startup, over);
        await Task.WhenAny(_stream.CopyToAsync(stream, over), stream.CopyToAsync(_stream, over));
    }

    /// <summary>Leads the client to a real server, as a firewall that reads statements does: one that is forbidden is answered with a FATAL error, or by the end alone.</summary>
    /// <param name="port">The server's.</param>
    /// <param name="isForbidden">Whether a statement may not pass.</param>
    /// <param name="sqlState">Of the error; null for none.</param>
    public async Task PassUnlessAsync(int port, Func<string, bool> isForbidden, string? sqlState)
    {
        if (Startup.Length == 0)
        {
            await ReadStartupAsync();
        }

        using var server = new TcpClient { NoDelay = true };
        await server.ConnectAsync(IPAddress.Loopback, port, over);
        var stream = server.GetStream();
        await stream.WriteAsync(Startup, over);
        var back = stream.CopyToAsync(_stream, over);
        try
        {
            while (await ReadMessageAsync() is { } message)
            {
                if (message[0] is (byte)'P' or (byte)'Q' && isForbidden(Encoding.UTF8.GetString(message.AsSpan(5))))
                {
                    if (sqlState is not null)
                    {
                        await SendMessageAsync('E', [.. Encoding.UTF8.GetBytes($"SFATAL\0VFATAL\0C{sqlState}\0Mnot through this firewall\0"), 0]);
                    }

                    return;
                }

                await stream.WriteAsync(message, over);
            }
        }
        finally
        {
            server.Close();
            await Task.WhenAny(back);
            _ = back.Exception;
        }
    }

    public void Dispose() => _stream.Dispose();

    private async Task<byte[]?> ReadMessageAsync()
    {
        var head = new byte[5];
        if (await _stream.ReadAtLeastAsync(head, head.Length, throwOnEndOfStream: false, over) < head.Length)
        {
            return null;
        }

        var body = new byte[BinaryPrimitives.ReadInt32BigEndian(head.AsSpan(1)) - 4];
        await _stream.ReadExactlyAsync(body, over);
        return [.. head, .. body];
    }
}
