using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;

namespace SafePool.TestKit;

internal static class FreePort
{
    // Below the ports that systems give to outgoing connections. A server or proxy that is down for a while would
    // lose such a port to any client, and a client that retries it could even be connected to itself.
    private const int First = 15_000;
    private const int Last = 32_000;

    /// <summary>Picks a loopback port that nobody listens on at this moment.</summary>
    public static int Pick()
    {
        for (var attempt = 0; attempt < 100; attempt++)
        {
            var port = RandomNumberGenerator.GetInt32(First, Last);
            if (IsFree(port))
            {
                return port;
            }
        }

        throw new InvalidOperationException($"No free port found between {First} and {Last} in 100 attempts.");
    }

    private static bool IsFree(int port)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
            socket.Listen(1);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
