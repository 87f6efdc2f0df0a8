using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace SafePool.Analyzers;

/// <summary>SFP0008: a rent that could be cancelled and cannot.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class NoTokenAnalyzer() : PoolAnalyzer(Rules.NoToken)
{
    private protected override void Register(CompilationStartAnalysisContext context, PoolTypes types)
        => context.OnRent(
            (operation, call) =>
            {
                if (types.IsRent(call)
                    && call.Arguments.Any(argument => argument.ArgumentKind == ArgumentKind.DefaultValue && types.IsToken(argument.Parameter?.Type))
                    && TokenInScope(call, operation.ContainingSymbol!, types) is { } token)
                {
                    operation.ReportDiagnostic(Diagnostic.Create(Rules.NoToken, call.Syntax.GetLocation(), call.TargetMethod.Name, token.Name));
                }
            });

    /// <summary>The nearest parameter that is a token, of the function or of one around it.</summary>
    internal static IParameterSymbol? TokenInScope(IOperation call, ISymbol containing, PoolTypes types)
    {
        for (var operation = call.Parent; operation is not null; operation = operation.Parent)
        {
            var function = operation switch
            {
                IAnonymousFunctionOperation lambda => lambda.Symbol,
                ILocalFunctionOperation local => local.Symbol,
                _ => null,
            };
            if (function?.Parameters.FirstOrDefault(parameter => types.IsToken(parameter.Type)) is { } token)
            {
                return token;
            }

            if (function is { IsStatic: true })
            {
                return null;
            }
        }

        return (containing as IMethodSymbol)?.Parameters.FirstOrDefault(parameter => types.IsToken(parameter.Type));
    }
}
