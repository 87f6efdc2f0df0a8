using Npgsql;
using SafePool.Time;

namespace SafePool.Driver;

/// <summary>Opens connections beside the pool, which may call the user as well: what does not heed its token is not waited for.</summary>
internal static class Stragglers
{
    private const string Hangs = "A callback that ConfigureDataSource has set hangs: it has not ended, and does not heed its token.";

    /// <summary>Over soon after the token was cancelled, in any case; what is brought later is disposed of.</summary>
    /// <param name="open">Opens something; runs on a thread of the thread pool, and may hold it up.</param>
    /// <param name="time">The clock.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="OperationCanceledException">The token was cancelled, whether <paramref name="open"/> has ended or not.</exception>
    public static async Task<T> OpenAsync<T>(Func<Task<T>> open, TimeProvider time, CancellationToken cancellationToken)
        where T : IAsyncDisposable
    {
        var opening = Task.Run(open, CancellationToken.None);
        try
        {
            return await opening.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!opening.IsCompleted)
        {
            return await EndAsync(opening, time, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>The same for a caller who blocks: without a thread of the thread pool, and not on his own.</summary>
    /// <param name="open">Opens something; may hold up its thread.</param>
    /// <param name="bound">How long it is waited for, in real time.</param>
    /// <exception cref="TimeoutException">It had not ended by then.</exception>
    public static T Open<T>(Func<T> open, TimeSpan bound)
        where T : IAsyncDisposable
    {
        var opening = OwnThread.RunAsync(open);
        if (Task.WaitAny([opening], bound) == 0)
        {
            return opening.GetAwaiter().GetResult();
        }

        _ = DisposeLateAsync(opening);
        throw new TimeoutException(Hangs);
    }

    private static async Task<T> EndAsync<T>(Task<T> opening, TimeProvider time, CancellationToken cancellationToken)
        where T : IAsyncDisposable
    {
        try
        {
            return await opening.WaitAsync(OpenAttempt.Grace, time, CancellationToken.None).ConfigureAwait(false);
        }
        catch (TimeoutException) when (!opening.IsCompleted)
        {
            _ = DisposeLateAsync(opening);
            throw new OperationCanceledException(Hangs, cancellationToken);
        }
    }

    private static async Task DisposeLateAsync<T>(Task<T> opening)
        where T : IAsyncDisposable
    {
        await ((Task)opening).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (opening.IsCompletedSuccessfully)
        {
            var late = await opening.ConfigureAwait(false);
            await late.DisposeAsync().ConfigureAwait(false);
        }
    }
}
